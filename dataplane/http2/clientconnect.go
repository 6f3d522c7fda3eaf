package http2

import (
	"net"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// awaitExtendedConnect waits for the upstream's SETTINGS, and refuses what they do not offer (RFC 8441, 3): nothing is sent.
func (s *ClientStream) awaitExtendedConnect() *failure.Error {
	c := s.conn
	c.lock()
	defer c.unlock()
	for !c.greeted && c.over == nil && !s.closed {
		c.out.room.Wait()
	}
	switch {
	case s.closed:
		return failure.New(failure.Reset, errClosed)
	case c.over == nil && !c.extendedConnect:
		return failure.Newf(failure.BadResponse, "the upstream does not take upgrades: its SETTINGS have no ENABLE_CONNECT_PROTOCOL (RFC 8441, 3)")
	}
	return nil
}

// switched makes a 101 of the 2xx that agrees to an extended CONNECT; it returns what is wrong with it. The lock is held.
func (s *ClientStream) switched(head *message.Response, length int64) (why string) {
	if length >= 0 {
		return "content-length in the answer to CONNECT (RFC 9110, 9.3.6)"
	}
	head.Status, head.ContentLength = 101, 0
	// As HTTP/1.1 would say it.
	head.Header.Del("upgrade")
	head.Header.Add("upgrade", s.upgrade)
	return ""
}

// Switched makes a connection of a stream whose answer was a 101; its end is END_STREAM. The exchange must be ended by
// Close(false).
func (s *ClientStream) Switched() (ahead []byte, conn net.Conn) {
	return nil, &clientStreamConn{ClientStream: s}
}

// clientStreamConn is a stream as a connection of bytes. Deadlines are nobody's here: Close wakes who waits.
type clientStreamConn struct{ *ClientStream }

// Write sends at once.
func (c *clientStreamConn) Write(p []byte) (int, error) {
	n, err := c.ClientStream.Write(p)
	if err == nil {
		err = c.Flush()
	}
	return n, err
}

// CloseWrite ends what we send.
func (c *clientStreamConn) CloseWrite() error { return c.End(nil) }

// Close breaks the stream off, unless it has ended.
func (c *clientStreamConn) Close() error {
	c.ClientStream.Close(false)
	return nil
}

// LocalAddr is the connection's.
func (c *clientStreamConn) LocalAddr() net.Addr { return c.conn.conn.LocalAddr() }

// RemoteAddr is the connection's.
func (c *clientStreamConn) RemoteAddr() net.Addr { return c.conn.conn.RemoteAddr() }

// SetDeadline does nothing.
func (c *clientStreamConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *clientStreamConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *clientStreamConn) SetWriteDeadline(time.Time) error { return nil }
