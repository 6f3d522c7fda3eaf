// Package socket is the seam between the proxy and the kernel: a TCP connection on which each read, write and look is
// one system call, made without telling Go's scheduler, since none of them can wait.
//
// In: a *net.TCPConn. Out: a net.Conn, and what a proxy wants to know of a socket beyond that. Waiting is the runtime's,
// as are deadlines. It must not know a protocol.
//
// Why: around a system call that might wait, the runtime gives its processor up and takes it back; on a socket that
// never waits this is for nothing, and costs 2 to 4 % of a small request's CPU.
package socket

import "net"

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
	}
	return nil
}

// Wrap is a connection with its system calls made here if it is TCP, and the connection itself if not.
func Wrap(conn net.Conn) net.Conn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if c := New(tcp); c != nil {
			return c
		}
	}
	return conn
}

// Abort makes Close send a reset.
func Abort(conn net.Conn) {
	if t, ok := Below(conn).(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
}
