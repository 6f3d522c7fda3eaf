package http1

import (
	"bytes"
	"net"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Switch answers with a 101, whose head names the protocol in Upgrade, and gives the connection up: what the client has
// sent behind its request is ahead, and all else is the connection's. The request's body must have been read. After it
// only Reset and SetReadDeadline may be called; the connection is closed when the request's handler returns.
func (s *ServerStream) Switch(head *message.Response) (ahead []byte, conn net.Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.c
	switch {
	case s.responded:
		return nil, nil, failure.Newf(failure.Internal, "a second answer")
	case head.Status != 101 || !s.complete.Load():
		return nil, nil, failure.Newf(failure.Internal, "status %d, want 101 after the request's end", head.Status)
	}
	out := &c.out
	out.begin()
	mark := len(out.buf)
	out.str(statusLine(101))
	if err := out.fields(head.Header); err != nil {
		out.buf = out.buf[:mark]
		return nil, nil, failure.New(failure.BadResponse, err)
	}
	out.str("connection: Upgrade\r\n\r\n")
	s.responded, s.owed, s.switched = true, false, true
	if err := s.sent(out.flush()); err != nil {
		return nil, nil, err
	}
	out.release()
	c.alarm.Clear()
	if c.opts.Switched != nil {
		c.opts.Switched()
	}
	if !s.broken.Load() {
		// Whoever sets one from now on means it.
		_ = c.conn.SetReadDeadline(time.Time{})
	}
	ahead = bytes.Clone(c.in.bytes())
	c.in.r = c.in.w
	return ahead, c.conn, nil
}

// Switched gives the connection up after a 101: what came behind the head is ahead. The exchange must be ended by Break.
func (c *ClientConn) Switched() (ahead []byte, conn net.Conn) {
	ahead = bytes.Clone(c.in.bytes())
	c.in.r = c.in.w
	c.out.release()
	return ahead, c.conn
}
