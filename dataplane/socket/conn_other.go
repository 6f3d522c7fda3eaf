//go:build !unix

package socket

import "net"

// Conn is not made here: a socket cannot be looked at, so that a client that goes away is noticed when it is next read or
// written, and upstream connections serve one request each.
type Conn struct{ Stream }

// Filler is a buffer that is there only when bytes are.
type Filler interface {
	Space() []byte
	Filled(n int)
}

// New makes none.
func New(Stream) *Conn { return nil }

func (*Conn) Fill(Filler) error      { panic("socket: not here") }
func (*Conn) Writev(...[]byte) error { panic("socket: not here") }
func (*Conn) Peek() int              { return 0 }
func (*Conn) HungUp() bool           { return false }

// Readable does not wait: who reads does.
func Readable(net.Conn) error { return nil }
