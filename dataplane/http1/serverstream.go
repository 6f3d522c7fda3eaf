package http1

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// ServerStream is one request and its answer; it implements httpproxy.Stream. One goroutine calls it, save that Read may
// run in another than Respond, Write, Flush and End; Reset, Gone and SetReadDeadline may be called by any.
type ServerStream struct {
	c      *serverConn
	limits Limits
	// body is who reads.
	body Body

	// Only who answers. noBody: the answer has none, whatever its head says. untilClose: its body ends with the
	// connection.
	ended, noBody, untilClose, persists bool
	// switched: the connection speaks another protocol now.
	switched bool

	// busy: a request is under way. complete: its body has been read. spoiled: its body cannot be read to its end. broken:
	// the answer cannot be sent to its end. Any goroutine.
	busy, complete, spoiled, broken atomic.Bool

	mu sync.Mutex
	// Guarded by mu. responded: a final head was sent. owed: the client waits for a 100.
	responded, owed bool
}

func (s *ServerStream) begin() {
	p := &s.c.parser
	framing := FramedEmpty
	switch {
	case p.Chunked:
		framing = FramedChunked
	case p.Request.ContentLength > 0:
		framing = FramedLength
	}
	s.body.Reset(framing, p.Request.ContentLength, s.limits)
	s.ended, s.noBody, s.untilClose, s.persists, s.switched = false, false, false, p.Persists, false
	s.busy.Store(true)
	s.complete.Store(s.body.Done())
	s.spoiled.Store(false)
	s.mu.Lock()
	s.responded, s.owed = false, p.ExpectContinue
	s.mu.Unlock()
}

// Request is the head.
func (s *ServerStream) Request() *message.Request { return &s.c.parser.Request }

// Read reads the request's body, decoded. At io.EOF, which may come with the last bytes, Request().Trailer is filled.
// The first Read sends the 100 that an Expect asks for. Failures are of kind BadRequest, RequestTimeout and ClientGone.
func (s *ServerStream) Read(p []byte) (int, error) {
	if s.body.Done() {
		return 0, s.whole()
	}
	if len(p) == 0 {
		return 0, nil
	}
	in := &s.c.in
	for {
		if in.buffered() > 0 {
			src := in.bytes()
			// No more than fits.
			if len(src) > len(p) && s.body.Direct() != 0 {
				src = src[:len(p)]
			}
			data, n, v := s.body.Parse(src)
			if v != nil {
				s.spoiled.Store(true)
				return 0, failure.Newf(failure.BadRequest, "%s", v.text)
			}
			if len(data) > len(p) {
				// The size of the chunk was read in the same go: what does not fit is taken back.
				extra := len(data) - len(p)
				s.body.untake(int64(extra))
				data, n = data[:len(p)], n-extra
			}
			in.r += n
			got := copy(p, data)
			in.r += s.body.Skip(in.bytes())
			if s.body.Done() {
				return got, s.whole()
			}
			if got > 0 {
				return got, nil
			}
			continue
		}
		if err := s.sendContinue(); err != nil {
			return 0, err
		}
		direct := s.body.Direct()
		if direct == 0 || direct < smallBuffer && int64(len(p)) > direct {
			// Framing is to come, or the next request may come with these bytes.
			if err := s.c.fill(); err != nil {
				return 0, s.failed(err)
			}
			continue
		}
		if int64(len(p)) > direct {
			p = p[:direct]
		}
		n, err := s.c.read(p)
		if err != nil {
			return 0, s.failed(err)
		}
		s.body.Took(int64(n))
		if s.body.Done() {
			return n, s.whole()
		}
		return n, nil
	}
}

func (s *ServerStream) whole() error {
	if !s.complete.Load() {
		s.c.alarm.Clear()
		s.c.parser.Request.Trailer = s.body.Trailer
		s.complete.Store(true)
	}
	return io.EOF
}

func (s *ServerStream) failed(err error) error {
	s.spoiled.Store(true)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return failure.New(failure.RequestTimeout, err)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return failure.New(failure.ClientGone, err)
}

// sendContinue tells a client that waits to go on (RFC 9110, 10.1.1), unless it has its answer.
func (s *ServerStream) sendContinue() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.owed || s.responded {
		return nil
	}
	s.owed = false
	out := &s.c.out
	out.begin()
	out.str("HTTP/1.1 100 Continue\r\n\r\n")
	if err := out.flush(); err != nil {
		s.broken.Store(true)
		return failure.New(failure.ClientGone, err)
	}
	return nil
}

// Respond sends the head; end says that no body follows. A status of 100 to 199 may go before the final one: it is sent
// at once, a 100 only to who waits for it, and none to HTTP/1.0. Fields about framing and the connection are left out of
// the head and written anew; a head that cannot be serialized is refused with failure.BadResponse, and another may follow.
func (s *ServerStream) Respond(head *message.Response, end bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.responded {
		return failure.Newf(failure.Internal, "a second answer")
	}
	if head.Status < 200 {
		return s.inform(head)
	}
	out := &s.c.out
	out.begin()
	mark := len(out.buf)
	if err := s.head(head, end); err != nil {
		out.buf = out.buf[:mark]
		return failure.New(failure.BadResponse, err)
	}
	s.responded = true
	return nil
}

func (s *ServerStream) inform(head *message.Response) error {
	if head.Status == 100 && !s.owed || s.Request().Proto == message.HTTP10 {
		return nil
	}
	out := &s.c.out
	out.begin()
	mark := len(out.buf)
	out.str(statusLine(head.Status))
	if err := out.fields(head.Header); err != nil {
		out.buf = out.buf[:mark]
		return failure.New(failure.BadResponse, err)
	}
	out.str("\r\n")
	if head.Status == 100 {
		s.owed = false
	}
	return s.sent(out.flush())
}

func (s *ServerStream) head(head *message.Response, end bool) error {
	out, req := &s.c.out, s.Request()
	if head.Status > 999 {
		return errInvalidField
	}
	out.str(statusLine(head.Status))
	// RFC 9110, 6.4.1.
	s.noBody = req.Method == "HEAD" || head.Status == 204 || head.Status == 304
	length, stated := "", false
	for i := range head.Header {
		f := &head.Header[i]
		if aboutConnection(f.Name) {
			if message.EqualName(f.Name, "content-length") {
				length, stated = f.Value, true
			}
			continue
		}
		if err := out.field(f.Name, f.Value); err != nil {
			return err
		}
	}
	switch {
	case s.noBody:
		out.body(0)
		// RFC 9110, 8.6: what a GET would get may be told; not with 204.
		if _, ok := ParseLength(length); ok && stated && head.Status != 204 {
			out.str("content-length: ")
			out.str(length)
			out.str("\r\n")
		}
	case end:
		out.body(0)
		out.length(0)
	case head.ContentLength >= 0:
		out.body(head.ContentLength)
		out.length(head.ContentLength)
	case req.Proto == message.HTTP10:
		s.untilClose, s.persists = true, false
		out.body(0)
		out.left = -1
	default:
		out.body(-1)
		out.str("transfer-encoding: chunked\r\n")
	}
	// A request whose body we may never read leaves nothing to go on from: whoever is answered before it has come must know, or
	// its next request would come in vain (as with Envoy).
	// Neither does an upgrade that the upstream did not take: what follows may be in the protocol that was asked for.
	if s.c.draining() || s.spoiled.Load() || req.Upgrade != "" || !s.complete.Load() {
		s.persists = false
	}
	switch {
	case !s.persists:
		out.str("connection: close\r\n")
	case req.Proto == message.HTTP10:
		out.str("connection: keep-alive\r\n")
	}
	out.str("\r\n")
	return nil
}

// Write sends a part of the body; it may wait for the client. To a request for HEAD, and with statuses that have no
// body, it is dropped.
func (s *ServerStream) Write(p []byte) (int, error) {
	if s.noBody {
		return len(p), nil
	}
	n, err := s.c.out.write(p)
	return n, s.sent(err)
}

// Flush sends what is buffered.
func (s *ServerStream) Flush() error { return s.sent(s.c.out.flush()) }

// End ends the answer; trailer may be nil, and is sent only with a chunked body.
func (s *ServerStream) End(trailer message.Header) error {
	if s.ended || s.switched {
		return nil
	}
	if err := s.sent(s.c.out.end(trailer)); err != nil {
		return err
	}
	s.ended = true
	return nil
}

func (s *ServerStream) sent(err error) error {
	if err == nil {
		return nil
	}
	s.broken.Store(true)
	if err == errLength || err == errInvalidField {
		return failure.New(failure.BadResponse, err)
	}
	return failure.New(failure.ClientGone, err)
}

// Reset breaks the answer off with a TCP reset, so that even a body that ends with the connection is not taken for
// whole. Any goroutine may call it; it wakes Read and Write.
func (s *ServerStream) Reset() {
	s.broken.Store(true)
	s.c.wake.Store(1)
	_ = s.c.conn.SetDeadline(past)
}

// SetReadDeadline fails a Read that waits, then or already, with failure.RequestTimeout; the answer can still be sent.
// The zero time takes it away. Any goroutine may call it.
func (s *ServerStream) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		s.c.wake.Store(0)
	} else {
		s.c.wake.Store(max(1, t.UnixNano()))
	}
	return s.c.conn.SetReadDeadline(t)
}

// Gone tells whether the client has closed the connection, as far as can be seen without reading. Any goroutine may
// call it.
func (s *ServerStream) Gone() bool { return gone(s.c.conn) }

// Discard throws away what is here of a body that nobody wants: it then does not cost the connection, if that was all. It is
// called before Respond, by who has not begun to Read.
func (s *ServerStream) Discard() {
	in := &s.c.in
	for !s.body.Done() && in.buffered() > 0 {
		_, n, v := s.body.Parse(in.bytes())
		if v != nil {
			s.spoiled.Store(true)
			return
		}
		in.r += n
	}
	s.complete.Store(s.body.Done())
}

// finish ends the request; false ends the connection.
func (s *ServerStream) finish() (goOn bool) {
	c := s.c
	if s.switched {
		if !s.broken.Load() {
			c.linger()
		}
		return false
	}
	if s.responded && !s.ended && !s.broken.Load() && c.out.whole() {
		// The client knows by the answer's length that it has all of it, and may ask for more already. An upstream that broke
		// off behind the last byte, as in HTTP/2 before it said that it was the last, does not cost it the connection.
		_ = s.End(nil)
	}
	if s.broken.Load() || !s.responded || !s.ended {
		if s.responded {
			// What is there already may still be sent, but not as a whole.
			if !s.broken.Load() {
				_ = c.out.flush()
			}
			if s.untilClose || s.broken.Load() {
				socket.Abort(c.conn)
			}
		}
		s.broken.Store(true)
		return false
	}
	if s.persists && s.complete.Load() {
		return true
	}
	c.linger()
	return false
}

// Buffered is how many bytes of the body can be read without waiting, at most: the next request's may be among them.
func (s *ServerStream) Buffered() int { return s.c.in.buffered() }
