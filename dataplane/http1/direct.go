package http1

import "net"

// The methods here are for who moves a body below the codec, from socket to socket. Source and Sink tell from and to
// where, and how many bytes to come are the body's own with nothing between or beside them; 0 is none: Read and Write
// must do it. What was moved is told to TookFrom and GaveTo, at once.

// Source is where the request's body comes from. It is for the goroutine that reads.
func (s *ServerStream) Source() (net.Conn, int64) {
	s.mu.Lock()
	owed := s.owed && !s.responded
	s.mu.Unlock()
	if owed || s.c.in.buffered() > 0 {
		return nil, 0
	}
	return s.c.conn, s.body.whole()
}

// TookFrom counts n bytes of Source.
func (s *ServerStream) TookFrom(n int64) { s.body.Took(n) }

// Sink is where the answer's body goes to. It is for the goroutine that writes; it sends what is buffered.
func (s *ServerStream) Sink() (net.Conn, int64, error) {
	if s.noBody {
		return nil, 0, nil
	}
	conn, left, err := s.c.out.sink()
	return conn, left, s.sent(err)
}

// GaveTo counts n bytes to Sink, and err, with which moving them ended if it failed there: it is returned as Write would.
func (s *ServerStream) GaveTo(n int64, err error) error { return s.sent(s.c.out.gave(n, err)) }

// Source is where the answer's body comes from. It is for the goroutine that reads.
func (c *ClientConn) Source() (net.Conn, int64) {
	if c.in.buffered() > 0 {
		return nil, 0
	}
	return c.conn, c.body.whole()
}

// TookFrom counts n bytes of Source.
func (c *ClientConn) TookFrom(n int64) {
	c.body.Took(n)
	c.got += n
}

// Sink is where the request's body goes to. It is for the goroutine that writes; it sends what is buffered.
func (c *ClientConn) Sink() (net.Conn, int64, error) {
	conn, left, err := c.out.sink()
	return conn, left, c.sent(err)
}

// GaveTo counts n bytes to Sink, and err, with which moving them ended if it failed there: it is returned as Write would.
func (c *ClientConn) GaveTo(n int64, err error) error { return c.sent(c.out.gave(n, err)) }

// whole is how many bytes are left of a body with a length; 0 of one that is framed in another way.
func (b *Body) whole() int64 {
	if b.state != bodyData {
		return 0
	}
	return b.left
}

func (w *writer) sink() (net.Conn, int64, error) {
	if w.chunked || w.left <= 0 {
		return nil, 0, nil
	}
	return w.conn, w.left, w.flush()
}

func (w *writer) gave(n int64, err error) error {
	w.left -= n
	w.sent += n
	if err != nil {
		w.err = err
	}
	return w.err
}
