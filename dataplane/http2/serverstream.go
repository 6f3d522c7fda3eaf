package http2

import (
	"context"
	"io"
	"sync"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// ServerStream is one request and its answer. One goroutine calls it, save that Read may run in another than Respond,
// Write, Flush and End; Reset and SetReadDeadline may be called by any, until the handler returns.
type ServerStream struct {
	c  *serverConn
	id uint32

	// Only the handler. header is where the fields are kept, for use again.
	req    message.Request
	header message.Header
	// mark is the last DATA frame that was gathered.
	mark dataMark

	// All below is guarded by the connection's mu. send and receive are windows.
	send    sendWindow
	receive receiveWindow
	// body waits to be read; declared is its length, -1 if the head did not say; received is what came.
	body               chunks
	declared, received int64
	// trailer and bodyErr are for who reads to the end.
	trailer message.Header
	bodyErr *failure.Error
	// remoteEnded: the request is whole. responded: a final head was sent; localEnded: all of the answer was. closed: the
	// stream is no more: it is whole, or gone says why it was broken off.
	remoteEnded, responded, localEnded, closed, whole bool
	gone                                              error
	// expects: a 100 is waited for. expired: the read deadline has passed. starved: Write waits for a window.
	expects, expired, starved bool
	deadline, stalled         *time.Timer
	// ctx is made if it is asked for. onGone is to be called when the client goes away, and called: it was. kept: somebody
	// may hold the stream after its handler has returned.
	ctx          context.Context
	cancel       context.CancelFunc
	onGone       func()
	called, kept bool

	readable, writable sync.Cond
}

var serverStreams = sync.Pool{New: func() any { return &ServerStream{} }}

func newServerStream(c *serverConn, id uint32) *ServerStream {
	s := serverStreams.Get().(*ServerStream)
	s.c, s.id = c, id
	s.readable.L, s.writable.L = &c.mu, &c.mu
	return s
}

// opened gives a new stream its windows; mu is held.
func (s *ServerStream) opened() {
	size := s.c.streamWindow()
	if !s.c.acked {
		size = max(size, initialWindow)
	}
	s.receive = newReceiveWindow(size)
	s.send = sendWindow(s.c.initialSend)
}

// free keeps a stream for use again, unless somebody may still hold it.
func (s *ServerStream) free() {
	if s.called || s.kept || s.ctx != nil || s.deadline != nil {
		return
	}
	header := s.header
	if cap(s.req.Header) > cap(header) {
		// Who added fields may have needed a larger array.
		header = s.req.Header
	}
	header = header[:cap(header)]
	clear(header)
	stalled := s.stalled
	*s = ServerStream{header: header[:0], stalled: stalled}
	serverStreams.Put(s)
}

// keep has a stream not be used again.
func (s *ServerStream) keep() {
	s.c.mu.Lock()
	s.kept = true
	s.c.mu.Unlock()
}

// Request is the head. Names are in lower case.
func (s *ServerStream) Request() *message.Request { return &s.req }

// Context ends with the stream: when both sides have ended it, when the client resets it or goes away, and when the
// handler returns.
func (s *ServerStream) Context() context.Context {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancel(context.Background())
		if s.closed {
			s.cancel()
		}
	}
	return s.ctx
}

// OnGone has f called, in a goroutine of its own, when the client resets the stream or goes away, or has already. It
// costs less than Context. Call it once, and StopGone before the handler returns.
func (s *ServerStream) OnGone(f func()) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.onGone = f
	if s.gone != nil {
		s.called = true
		go f()
	}
}

// StopGone takes OnGone back; false if its function was called.
func (s *ServerStream) StopGone() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.onGone = nil
	return !s.called
}

// SetReadDeadline fails a Read that waits, then or already, with failure.RequestTimeout; the answer can still be sent.
// The zero time takes it away, unless it has passed.
func (s *ServerStream) SetReadDeadline(t time.Time) error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.deadline != nil {
		s.deadline.Stop()
	}
	if t.IsZero() {
		return nil
	}
	expire := func() {
		s.expired = true
		s.readable.Signal()
	}
	wait := time.Until(t)
	if wait <= 0 {
		expire()
		return nil
	}
	s.deadline = time.AfterFunc(wait, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		expire()
	})
	return nil
}

// Buffered is how many bytes of the body can be read without waiting.
func (s *ServerStream) Buffered() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.body.n
}

// Whole tells whether all of the request is here, so that Read will not wait.
func (s *ServerStream) Whole() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.remoteEnded
}

// expectsContinue tells whether the client waits for a 100 (RFC 9110, 10.1.1).
func (s *ServerStream) expectsContinue() bool {
	for i := range s.req.Header {
		if f := &s.req.Header[i]; f.Name == "expect" {
			return message.EqualName(f.Value, "100-continue")
		}
	}
	return false
}

// Read reads the request's body. At io.EOF, which may come with the last bytes, Request().Trailer is filled. The first
// Read sends the 100 that an Expect asks for.
func (s *ServerStream) Read(p []byte) (int, error) {
	c := s.c
	c.mu.Lock()
	if s.expects {
		s.expects = false
		if s.body.n == 0 && !s.remoteEnded && !s.responded && s.gone == nil {
			c.beginHeaders(s.id)
			c.pseudo(":status", "100")
			_ = c.endHeaders(s.id, false)
			c.mu.Unlock()
			_ = c.flush()
			c.mu.Lock()
		}
	}
	for {
		switch {
		case s.gone != nil:
			err := failure.New(failure.ClientGone, s.gone)
			c.mu.Unlock()
			return 0, err
		case s.expired:
			c.mu.Unlock()
			return 0, failure.New(failure.RequestTimeout, nil)
		case s.body.n > 0:
			n := s.body.read(p)
			gathered := c.credit(s, n)
			err := error(nil)
			if s.body.n == 0 && s.remoteEnded && s.bodyErr == nil {
				s.req.Trailer, err = s.trailer, io.EOF
			}
			c.mu.Unlock()
			if gathered {
				// A failure to write shows in the stream's end.
				_ = c.flush()
			}
			return n, err
		case s.bodyErr != nil:
			err := s.bodyErr
			c.mu.Unlock()
			return 0, err
		case s.remoteEnded:
			s.req.Trailer = s.trailer
			c.mu.Unlock()
			return 0, io.EOF
		case len(p) == 0:
			c.mu.Unlock()
			return 0, nil
		}
		s.readable.Wait()
	}
}

// Reset breaks the answer off at once with RST_STREAM, and wakes Read and Write. Any goroutine may call it. A Write
// that is in the socket goes on until the client takes it, or ServerOptions.WriteTimeout has passed.
func (s *ServerStream) Reset() {
	c := s.c
	c.mu.Lock()
	if !s.closed {
		c.drop(s, errReset)
		c.gone.add(s.id)
		c.reset(s.id, xhttp2.ErrCodeInternal)
	}
	c.mu.Unlock()
	c.kick()
}

// drop closes a stream that is not whole, and wakes its handler; mu is held.
func (c *serverConn) drop(s *ServerStream, why error) {
	s.gone = why
	c.shut(s)
	s.readable.Signal()
	s.writable.Signal()
	c.room.Broadcast()
	if s.onGone != nil && !s.called {
		s.called = true
		go s.onGone()
	}
}

// shut closes a stream: frames for it are strange from here on. mu is held.
func (c *serverConn) shut(s *ServerStream) {
	if !s.closed {
		s.closed = true
		delete(c.streams, s.id)
		if s.cancel != nil {
			s.cancel()
		}
	}
}

// complete closes a stream that both sides have ended; mu is held.
func (c *serverConn) complete(s *ServerStream) {
	if !s.closed {
		c.shut(s)
		s.whole = true
		c.whole++
	}
}

// finish ends a stream whose handler has returned: it is closed, one way or the other.
func (c *serverConn) finish(s *ServerStream) {
	c.mu.Lock()
	if !s.closed {
		code := xhttp2.ErrCodeInternal
		if s.localEnded {
			// RFC 9113, 8.1: the answer is whole, and the rest of the request is not wanted.
			code = xhttp2.ErrCodeNo
		}
		c.gone.add(s.id)
		c.reset(s.id, code)
		c.shut(s)
	}
	c.credit(nil, s.body.n)
	s.body.clear()
	if s.deadline != nil {
		s.deadline.Stop()
	}
	c.active--
	if s.whole {
		c.whole--
	}
	idle := c.active == 0
	c.closeIfDone()
	pending := c.buf != nil
	c.mu.Unlock()
	s.free()
	if pending {
		_ = c.flush()
	}
	if idle {
		c.armIdle()
	}
}
