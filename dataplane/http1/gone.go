package http1

import (
	"net"

	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// gone tells whether the other side has ended its half. Without TLS, all that it sent must have been read: it may wait
// for several answers. Under TLS its last bytes are the notice that it closes, which cannot be told from others.
func gone(conn net.Conn) bool {
	s := socket.Of(conn)
	switch {
	case s == nil:
		return false
	case socket.Below(conn) != conn:
		return s.HungUp()
	default:
		return s.Peek() == 0
	}
}

// asked tells whether bytes have come that were not read. Who is about to close looks once more: on a busy machine a while may
// have passed since it was woken, and the next request may have come.
func asked(conn net.Conn) bool {
	s := socket.Of(conn)
	return s != nil && s.Peek() > 0
}
