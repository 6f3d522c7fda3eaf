package http2

import (
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
	// maxKeptFields is how much room for fields a stream keeps when it is put by.
	maxKeptFields = 256
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
	// upgrade is the protocol of an extended CONNECT (RFC 8441), as it was asked for; empty is none.
	upgrade string
	// isHead: the request's method is HEAD. bodiless: the answer has no body, whatever its length says (RFC 9110, 6.4.1).
	isHead, bodiless bool
	// expect is how much of the body must still come, -1 for any.
	expect int64
	body   chunks
	// lent is what Next gave out; only who reads.
	lent *chunk
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
	s.body.clear()
	s.takeBack()
	header, trailer, early := s.head.Header, s.trailer, s.early
	if cap(header) > maxKeptFields {
		header = nil
	}
	if cap(trailer) > maxKeptFields {
		trailer = nil
	}
	clear(header)
	clear(trailer)
	clear(early)
	*s = ClientStream{trailer: trailer[:0], early: early[:0]}
	s.head.Header = header[:0]
	clientStreams.Put(s)
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
	return s.body.n
}

// Read reads the answer's body. At io.EOF, which may come with the last bytes, the head's Trailer is filled.
func (s *ClientStream) Read(p []byte) (int, error) {
	c := s.conn
	c.lock()
	defer c.unlock()
	s.takeBack()
	for {
		if s.body.n > 0 && !s.closed {
			n := s.body.read(p)
			s.give(n)
			return n, s.ended()
		}
		if err := s.bodyEnd(); err != nil || len(p) == 0 {
			return 0, err
		}
		s.readable.Wait()
	}
}

// Next is a part of the answer's body that has come, where it lies: it is valid until the next Read, Next or Close(true).
// It never waits, and may be empty. Errors are those of Read.
func (s *ClientStream) Next() ([]byte, error) {
	c := s.conn
	c.lock()
	defer c.unlock()
	s.takeBack()
	if s.body.n == 0 || s.closed {
		return nil, s.bodyEnd()
	}
	s.lent = s.body.pop()
	p := s.lent.buf[s.lent.from:s.lent.to]
	s.give(len(p))
	return p, s.ended()
}

// takeBack ends what Next gave.
func (s *ClientStream) takeBack() {
	if s.lent != nil {
		s.lent.free()
		s.lent = nil
	}
}

// ended is io.EOF if the bytes just read were the last.
func (s *ClientStream) ended() error {
	if s.gotEnd && s.why == nil && s.body.n == 0 {
		s.head.Trailer = s.trailer
		return io.EOF
	}
	return nil
}

// bodyEnd is why no more bytes come; nil if some may.
func (s *ClientStream) bodyEnd() error {
	switch {
	case s.closed:
		return failure.New(failure.Reset, errClosed)
	case s.bodiless:
		return io.EOF
	case s.why != nil:
		return s.why
	}
	return s.ended()
}

// give credits the upstream with bytes that were read, in large steps. The lock is held.
func (s *ClientStream) give(n int) {
	if s.gotEnd || n == 0 {
		return
	}
	if n := s.received.read(n); n > 0 {
		s.conn.out.windowUpdate(s.id, n)
		s.conn.kick = true
	}
}

// fail ends a stream before its answer did. The lock is held.
func (s *ClientStream) fail(why *failure.Error) {
	if !s.gotEnd && s.why == nil {
		s.why = why
	}
	s.sentEnd, s.gotEnd = true, true
	s.wake()
}

// wake is for who reads and who writes. The lock is held.
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
		s.wake()
		if s.reserved {
			s.reserved = false
			c.reserved--
			c.freed()
		}
		if c.streams[s.id] == s {
			c.abandon(s)
		}
		s.body.clear()
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

// abandon ends a stream that nobody waits for any more. The lock is held.
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
