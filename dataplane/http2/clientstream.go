package http2

import (
	"errors"
	"io"
	"sync"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

const (
	// maxEarly is how many 1xx heads may come before the final one; an upstream that sends more is broken.
	maxEarly = 16
	// maxLingering is how many streams of a connection may wait for an upstream to end them, when nobody waits for what
	// they bring.
	maxLingering = 8
)

// ClientStream is one exchange with an upstream. One goroutine may write (WriteRequest, Write, Flush, End) while
// another reads (ReadResponse, Read). Close may be called by any, at any time, and wakes both. It is used again after
// Close(true).
type ClientStream struct {
	// conn is read-only between begin and Close(true).
	conn *ClientConn
	// length is what the request's head said of its body, -1 for nothing, and sent what went out. last is its last frame of
	// DATA. Only who writes.
	length, sent int64
	last         dataMark

	// All below is guarded by the connection's lock. The conditions are one waiter's each.
	readable, writable sync.Cond
	// id is 0 until the head is written. reserved: the connection keeps a place for it.
	id       uint32
	reserved bool
	// reused: streams came before on this connection.
	reused bool
	// sentEnd: we send no more. gotEnd: no more comes. closed: the exchange is over.
	sentEnd, gotEnd, closed bool
	// why is what ended the stream before its answer did.
	why *failure.Error
	// starved: it waits for the connection's window. window is what the upstream takes on this stream.
	starved bool
	window  sendWindow
	// answered: a head came, of whatever status. final: the final one did, and is head.
	answered, final bool
	early           []message.Response
	earlyRead       int
	shown           message.Response
	head            message.Response
	trailer         message.Header
	// isHead: the request's method is HEAD. bodiless: the answer has no body, whatever its length says (RFC 9110, 6.4.1).
	isHead, bodiless bool
	// expect is how much of the body must still come, -1 for any.
	expect int64
	body   inbox
	// received is what the upstream may send.
	received receiveWindow
}

var clientStreams = sync.Pool{New: func() any { return new(ClientStream) }}

// begin makes it new, save for its buffers.
func (s *ClientStream) begin(c *ClientConn) {
	s.conn = c
	s.readable.L, s.writable.L = &c.out.mu, &c.out.mu
	s.reserved = true
	s.received = newReceiveWindow(c.opts.StreamWindow)
}

// recycle puts it by. Nobody else knows of it any more.
func (s *ClientStream) recycle() {
	s.body.free()
	header, trailer, early := s.head.Header, s.trailer, s.early
	clear(header)
	clear(trailer)
	clear(early)
	*s = ClientStream{trailer: trailer[:0], early: early[:0]}
	s.head.Header = header[:0]
	clientStreams.Put(s)
}

// WriteRequest sends the head; end says that no body follows. Fields about a connection are left out, Host becomes
// :authority, and TE keeps "trailers" alone. A head that HTTP/2 cannot carry is refused with failure.BadRequest, before
// anything is sent. Without end, the head waits for Flush, End, or enough of the body.
func (s *ClientStream) WriteRequest(head *message.Request, end bool) error {
	if why := checkRequest(head); why != nil {
		return why
	}
	if why := s.open(head, end); why != nil {
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
	for c.out.space() <= 0 && c.out.err == nil && c.over == nil && !s.closed {
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
		s.why = &failure.Error{Kind: failure.Reset, Retryable: true, Err: errNoRoom}
		if c.over != nil {
			s.why.Kind, s.why.Err = c.over.Kind, c.over.Err
		}
		c.freed()
		return s.why
	}
	if err := c.putHead(c.nextID, head, s.length, end); err != nil {
		c.freed()
		return failure.New(failure.BadRequest, err)
	}
	s.id = c.nextID
	c.nextID += 2
	c.opened++
	s.reused = c.opened > 1
	s.window = c.streamWindow
	s.isHead = head.Method == "HEAD"
	s.sentEnd = end
	c.streams[s.id] = s
	return nil
}

// unwanted is why nothing more can be sent; nil if something can. the lock is held.
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
		case c.out.space() <= 0:
			c.out.makeRoom()
		case take == 0:
			s.awaitWindow()
		default:
			s.last = c.out.data(s.id, p[n:n+take], false)
			s.window.take(take)
			c.window.take(take)
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
	c.out.write()
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

// cut is a socket that takes nothing any more. An answer may have come before, and who reads finds out. The lock is
// held.
func (s *ClientStream) cut() *failure.Error {
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

// ReadResponse waits for a head: those of status 1xx come one by one before the final one.
func (s *ClientStream) ReadResponse() (*message.Response, error) {
	c := s.conn
	c.lock()
	defer c.unlock()
	for {
		switch {
		case s.closed:
			return nil, failure.New(failure.Reset, errClosed)
		case s.earlyRead < len(s.early):
			s.shown = s.early[s.earlyRead]
			s.earlyRead++
			return &s.shown, nil
		case s.final:
			return &s.head, nil
		case s.why != nil:
			return nil, s.why
		}
		s.readable.Wait()
	}
}

// Buffered is how many bytes of the answer can be read without waiting.
func (s *ClientStream) Buffered() int {
	s.conn.lock()
	defer s.conn.unlock()
	return s.body.len()
}

// Read reads the answer's body. At io.EOF, which may come with the last bytes, the head's Trailer is filled.
func (s *ClientStream) Read(p []byte) (int, error) {
	c := s.conn
	c.lock()
	defer c.unlock()
	for {
		switch {
		case s.closed:
			return 0, failure.New(failure.Reset, errClosed)
		case s.bodiless:
			return 0, io.EOF
		case s.body.len() > 0:
			n := s.body.read(p)
			s.give(n)
			if s.gotEnd && s.why == nil && s.body.len() == 0 {
				s.head.Trailer = s.trailer
				return n, io.EOF
			}
			return n, nil
		case s.why != nil:
			return 0, s.why
		case s.gotEnd:
			s.head.Trailer = s.trailer
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		s.readable.Wait()
	}
}

// give credits the upstream with bytes that were read, in large steps. the lock is held.
func (s *ClientStream) give(n int) {
	if s.gotEnd || n == 0 {
		return
	}
	if n := s.received.read(n); n > 0 {
		s.conn.out.windowUpdate(s.id, n)
		s.conn.kick = true
	}
}

// fail ends a stream before its answer did. the lock is held.
func (s *ClientStream) fail(why *failure.Error) {
	if !s.gotEnd && s.why == nil {
		s.why = why
	}
	s.sentEnd, s.gotEnd = true, true
	s.wake()
}

// wake is for who reads and who writes. the lock is held.
func (s *ClientStream) wake() {
	s.readable.Broadcast()
	s.writable.Broadcast()
}

// Close ends the exchange: a whole one leaves no trace, another is reset with CANCEL. The connection lives on either
// way. After Close(true) the stream is another's.
func (s *ClientStream) Close(reuse bool) {
	c := s.conn
	c.lock()
	if !s.closed {
		s.closed = true
		if s.reserved {
			s.reserved = false
			c.reserved--
			c.freed()
		}
		if c.streams[s.id] == s {
			c.abandon(s)
		}
		s.body.free()
		s.wake()
	}
	if !reuse {
		// It may be a writer that waits for room.
		c.out.room.Broadcast()
	}
	c.unlock()
	if reuse {
		s.recycle()
	}
}

// abandon ends a stream that nobody waits for any more. the lock is held.
func (c *ClientConn) abandon(s *ClientStream) {
	if s.final && s.bodiless && s.sentEnd && c.lingering < maxLingering {
		// The upstream will end it with its next frame. A reset would only look like an attack.
		c.streams[s.id] = &lingering
		c.lingering++
		return
	}
	c.reset(s, xhttp2.ErrCodeCancel, failure.New(failure.Reset, errClosed))
}

// lingering stands for streams whose exchange is over: all that may come is their end. Nobody writes it.
var lingering ClientStream
