package http2

import (
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// statusText is a status code as :status has it.
func statusText(status int) string {
	switch status {
	case 200:
		return "200"
	case 204:
		return "204"
	case 304:
		return "304"
	case 404:
		return "404"
	}
	return strconv.Itoa(status)
}

// Respond adds the head to what will be sent; end says that nothing follows. A status from 100 to 199 may go before, and
// is sent at once; 100 and 101 are not sent (RFC 9113, 8.6: there is no 101; a 100 goes out by the first Read).
func (s *ServerStream) Respond(head *message.Response, end bool) error {
	early := head.Status < http.StatusOK
	if early && head.Status <= http.StatusSwitchingProtocols {
		return nil
	}
	c := s.c
	c.mu.Lock()
	if err := s.writeErr(); err != nil {
		c.mu.Unlock()
		return err
	}
	c.beginHeaders(s.id)
	c.pseudo(":status", statusText(head.Status))
	for i := range head.Header {
		f := &head.Header[i]
		if name := c.encoder.lower(f.Name); name != "te" && !connectionField(name) {
			c.field(f.Name, f.Value)
		}
	}
	if err := c.endHeaders(s.id, end && !early); err != nil {
		c.mu.Unlock()
		return failure.New(failure.Internal, err)
	}
	if early {
		c.mu.Unlock()
		return s.Flush()
	}
	s.responded, s.expects = true, false
	if end {
		c.endAnswer(s)
	}
	c.mu.Unlock()
	return nil
}

// writeErr is why nothing can be sent any more; mu is held.
func (s *ServerStream) writeErr() error {
	switch {
	case s.gone != nil:
		return failure.New(failure.ClientGone, s.gone)
	case s.c.err != nil:
		return failure.New(failure.ClientGone, s.c.err)
	case s.localEnded:
		return failure.Newf(failure.Internal, "the answer has ended")
	}
	return nil
}

// Write sends a part of the body; it waits while the client's windows are full, or its socket.
func (s *ServerStream) Write(p []byte) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := 0; ; {
		if err := s.writeErr(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		if c.full() {
			c.makeRoom()
			continue
		}
		m := min(len(p)-n, c.maxFrame, s.send.available(), c.send.available())
		if m == 0 {
			s.starve()
			continue
		}
		s.send.take(m)
		c.send.take(m)
		s.mark = c.data(s.id, p[n:n+m], false)
		c.patience.earn(earnData)
		n += m
	}
}

// starve waits for a window to open; what is gathered is sent first, since the client may wait for it. mu is held.
func (s *ServerStream) starve() {
	c := s.c
	if c.buf != nil && !c.writing {
		c.makeRoom()
		return
	}
	if c.opts.WriteTimeout > 0 {
		if s.stalled == nil {
			s.stalled = time.AfterFunc(c.opts.WriteTimeout, s.Reset)
		} else {
			s.stalled.Reset(c.opts.WriteTimeout)
		}
	}
	s.starved = true
	s.writable.Wait()
	s.starved = false
	if s.stalled != nil && !s.stalled.Stop() {
		// The time has passed: Reset has run, or waits for the lock. This stream is not to be used again.
		s.stalled = nil
		s.kept = true
	}
}

// Flush sends what was added.
func (s *ServerStream) Flush() error {
	if err := s.c.flush(); err != nil {
		return failure.New(failure.ClientGone, err)
	}
	return nil
}

// End ends the answer, and sends what was added; trailer may be nil.
func (s *ServerStream) End(trailer message.Header) error {
	c := s.c
	c.mu.Lock()
	switch {
	case s.gone != nil || c.err != nil:
		err := s.writeErr()
		c.mu.Unlock()
		return err
	case !s.responded:
		c.mu.Unlock()
		return failure.Newf(failure.Internal, "an end without a head")
	case !s.localEnded:
		if err := c.trailers(s.id, trailer, s.mark); err != nil {
			c.mu.Unlock()
			return failure.New(failure.Internal, err)
		}
		c.endAnswer(s)
	}
	c.mu.Unlock()
	return s.Flush()
}

// endAnswer notes that END_STREAM was gathered; mu is held.
func (c *serverConn) endAnswer(s *ServerStream) {
	s.localEnded = true
	c.patience.earn(earnAnswer)
	if s.remoteEnded {
		c.complete(s)
	}
}
