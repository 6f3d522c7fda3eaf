//go:build !unix

package http1

import "net"

// Elsewhere a socket cannot be looked at: a client that goes away is noticed when it is next read or written, and
// upstream connections serve one request each.
type socket struct{}

func newSocket(net.Conn) *socket { return &socket{} }

func (*socket) peek() int { return 0 }

func gone(net.Conn) bool { return false }

func abort(conn net.Conn) {
	if t, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
}

type idler struct{}

func newIdler(net.Conn, *reader) *idler { return nil }

func (*idler) fill() error { return nil }
