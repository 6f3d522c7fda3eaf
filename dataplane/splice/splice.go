// Package splice moves bytes from one socket to another inside the kernel, where there are enough of them to pay: a call
// costs more than a read and a write of few bytes, and saves two copies of many.
//
// In: two connections. Out: bytes moved, in bounded steps, so that who calls can count them and keep its timeouts. It
// must not know what the bytes mean.
package splice

import (
	"net"
	"syscall"
)

// Step is the most that one Move carries, in bytes.
const Step = 256 << 10

// New makes a Way from one connection to another; nil if either is not a socket itself, as under TLS, or the
// system cannot do it. It takes nothing from the connections until Move.
func New(to, from net.Conn) *Way { return newWay(to, from) }

// SinkError is a failure of the sink: bytes that were taken from the source are lost. Other failures are of the source, and
// lose nothing: a Read tells what they are.
type SinkError struct{ Err error }

func (e *SinkError) Error() string { return e.Err.Error() }

// Unwrap is what failed.
func (e *SinkError) Unwrap() error { return e.Err }

// socket is a *net.TCPConn or a *net.UnixConn, or what embeds one.
type socket interface {
	net.Conn
	syscall.Conn
}
