//go:build !unix

package http1

import (
	"net"
	"syscall"
)

// Elsewhere a socket cannot be looked at: a client that goes away is noticed when it is next read or written, and
// upstream connections serve one request each.
func rawConn(net.Conn) syscall.RawConn { return nil }

func peek(syscall.RawConn) int { return 0 }

func peekEOF(net.Conn) bool { return false }

func abort(conn net.Conn) {
	if t, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
}
