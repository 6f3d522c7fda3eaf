// Package socket is the seam between the proxy and the kernel: a TCP or unix connection on which each read, write and look is
// one system call, made without telling Go's scheduler, since none of them can wait.
//
// In: a Stream. Out: a net.Conn, and what a proxy wants to know of a socket beyond that. Waiting is the runtime's,
// as are deadlines. It must not know a protocol.
//
// Why: around a system call that might wait, the runtime gives its processor up and takes it back; on a socket that
// never waits this is for nothing, and costs 2 to 4 % of a small request's CPU.
package socket

import (
	"net"
	"syscall"
)

// Stream is a connection of the system's: a *net.TCPConn or a *net.UnixConn.
type Stream interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
}

// Below is the connection under others, such as TLS.
func Below(conn net.Conn) net.Conn {
	for {
		upper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = upper.NetConn()
	}
}

// Of is the socket of a connection, or under it; nil if it has none that can be looked at.
func Of(conn net.Conn) *Conn {
	switch below := Below(conn).(type) {
	case *Conn:
		return below
	case *net.TCPConn:
		return New(below)
	case *net.UnixConn:
		return New(below)
	}
	return nil
}

// Wrap is a connection with its system calls made here if it is the system's, and the connection itself if not.
func Wrap(conn net.Conn) net.Conn {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		if c := New(conn.(Stream)); c != nil {
			return c
		}
	}
	return conn
}

// Abort makes Close send a reset, if it is TCP.
func Abort(conn net.Conn) {
	below := Below(conn)
	if c, ok := below.(*Conn); ok {
		below = c.Stream
	}
	if t, ok := below.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
}
