package http2

import (
	"errors"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// WriteRequest sends the head; end says that no body follows. Fields about a connection are left out, Host becomes
// :authority, and TE keeps "trailers" alone. A head that HTTP/2 cannot carry is refused with failure.BadRequest, before
// anything is sent. Without end, the head waits for Flush, End, or enough of the body.
func (s *ClientStream) WriteRequest(head *message.Request, end bool) error {
	if why := checkRequest(head); why != nil {
		return why
	}
	if head.Upgrade != "" {
		if why := s.awaitExtendedConnect(); why != nil {
			return why
		}
	}
	if why := s.open(head, end && head.Upgrade == ""); why != nil {
		return why
	}
	if !end {
		return nil
	}
	return s.Flush()
}

// open begins the stream.
func (s *ClientStream) open(head *message.Request, end bool) error {
	s.length, s.sent, s.last = -1, 0, dataMark{}
	switch {
	case end:
		s.length = 0
	case head.ContentLength > 0:
		s.length = head.ContentLength
	}
	c := s.conn
	c.lock()
	defer c.unlock()
	for c.out.full() && c.out.err == nil && c.over == nil && !s.closed {
		// Heads do not pile up before a socket that takes nothing.
		c.out.makeRoom()
	}
	if s.closed {
		return failure.New(failure.Reset, errClosed)
	}
	if s.reserved {
		s.reserved = false
		c.reserved--
	}
	if c.over != nil || c.refusing || c.out.err != nil || c.nextID > maxStreamID {
		// Nothing was sent.
		s.why = &failure.Error{Kind: failure.Reset, Retryable: true, Unsent: true, Err: errNoRoom}
		if c.over != nil {
			s.why.Kind, s.why.Err = c.over.Kind, c.over.Err
		}
		s.wake() // somebody may wait for the answer already
		c.freed()
		return s.why
	}
	if err := c.putHead(c.nextID, head, s.length, end); err != nil {
		c.freed()
		return failure.New(failure.BadRequest, err)
	}
	s.id = c.nextID
	if c.nextID += 2; c.nextID > maxStreamID {
		// RFC 9113, 5.1.1: the numbers are used up.
		c.draining = true
	}
	c.opened++
	s.reused = c.opened > 1
	s.window = c.streamWindow
	s.upgrade = head.Upgrade
	s.isHead = head.Method == "HEAD" && s.upgrade == ""
	s.sentEnd = end
	c.streams[s.id] = s
	return nil
}

// unwanted is why nothing more can be sent; nil if something can. The lock is held.
func (s *ClientStream) unwanted() *failure.Error {
	switch {
	case s.closed:
		return failure.New(failure.Reset, errClosed)
	case s.why != nil:
		return s.why
	case s.sentEnd, s.id == 0:
		return failure.New(failure.Reset, errSentEnd)
	}
	return nil
}

var (
	errSentEnd = errors.New("the request has ended")
	errLength  = errors.New("the body's length is not what its head said")
)

// Write sends a part of the request's body; it waits while the upstream's windows are full. It fails if the upstream
// wants no more: an answer may then stand ready for ReadResponse.
func (s *ClientStream) Write(p []byte) (int, error) {
	if s.length >= 0 && int64(len(p)) > s.length-s.sent {
		return 0, s.broken(errLength)
	}
	c := s.conn
	c.lock()
	defer c.unlock()
	n := 0
	for n < len(p) {
		if why := s.unwanted(); why != nil {
			return n, why
		}
		take := min(len(p)-n, s.window.available(), c.window.available(), c.out.maxFrame)
		switch {
		case c.out.err != nil:
			return n, s.cut()
		case c.out.full():
			c.out.makeRoom()
		case take == 0:
			s.awaitWindow()
		default:
			s.last = c.out.data(s.id, p[n:n+take], false)
			s.window.take(take)
			c.window.take(take)
			// It may have WINDOW_UPDATEs for answers.
			c.patience.earn(earnData)
			s.sent += int64(take)
			n += take
		}
	}
	return n, nil
}

// awaitWindow waits for WINDOW_UPDATE. The lock is held, but not meanwhile.
func (s *ClientStream) awaitWindow() {
	c := s.conn
	// What is gathered may be what the upstream waits for.
	c.out.write(maxRounds)
	if s.window.available() > 0 && c.window.available() > 0 || s.unwanted() != nil || c.out.err != nil {
		return
	}
	if c.window.available() == 0 {
		s.starved = true
		c.starved++
	}
	s.writable.Wait()
	if s.starved {
		s.starved = false
		c.starved--
	}
}

// cut is a socket that takes nothing any more. An answer may have come before, and who reads finds out; if the connection was
// ended for a reason, that is why. The lock is held.
func (s *ClientStream) cut() *failure.Error {
	if s.why != nil {
		return s.why
	}
	return &failure.Error{Kind: failure.Reset, Retryable: s.reused && !s.answered, Err: s.conn.out.err}
}

// Flush sends what is buffered.
func (s *ClientStream) Flush() error {
	c := s.conn
	if err := c.out.flush(); err != nil {
		c.lock()
		defer c.unlock()
		return s.cut()
	}
	return nil
}

// End ends the request's body, with all of the trailers that HTTP/2 can carry, and flushes.
func (s *ClientStream) End(trailer message.Header) error {
	if s.length > s.sent {
		return s.broken(errLength)
	}
	c := s.conn
	c.lock()
	if s.id != 0 && s.length == 0 {
		// WriteRequest ended it.
		c.unlock()
		return nil
	}
	if why := s.unwanted(); why != nil {
		c.unlock()
		return why
	}
	if err := c.out.trailers(s.id, trailer, s.last); err != nil {
		c.unlock()
		return s.broken(err)
	}
	s.sentEnd = true
	if s.gotEnd {
		c.forget(s)
	}
	c.unlock()
	return s.Flush()
}

// broken is a request that disagrees with its own head: it must not reach the upstream as a whole one.
func (s *ClientStream) broken(why error) error {
	c := s.conn
	c.lock()
	defer c.unlock()
	f := failure.New(failure.BadRequest, why)
	c.reset(s, xhttp2.ErrCodeCancel, f)
	return f
}
