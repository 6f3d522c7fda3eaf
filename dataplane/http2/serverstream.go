package http2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// ServerStream is one request and its answer. One goroutine calls it, save that Read may run in another than Respond,
// Write, Flush and End; Reset and SetReadDeadline may be called by any.
type ServerStream struct {
	w   http.ResponseWriter
	r   *http.Request
	req message.Request

	// Only the goroutine that answers.
	responded, bodyless bool

	mu sync.Mutex
	// Guarded by mu. ended: the answer is whole; reset: it is broken off; done: the handler has returned, and w is no
	// longer ours.
	ended, reset, done bool
}

// Request is the head. Names are in lower case.
func (s *ServerStream) Request() *message.Request { return &s.req }

// Context ends when the client resets the stream, or goes away.
func (s *ServerStream) Context() context.Context { return s.r.Context() }

// SetReadDeadline fails a Read that waits, then or already, with failure.RequestTimeout; the answer can still be sent.
// The zero time takes it away, unless it has passed.
func (s *ServerStream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	return http.NewResponseController(s.w).SetReadDeadline(t)
}

// read makes the head of what x/net understood, and refuses what it lets through. x/net refuses by itself: names that
// are not lower-case tokens, values with CR, LF or NUL, pseudo-fields unknown, twice, missing or late, :authority
// unlike Host, connection fields, TE other than "trailers", more DATA than Content-Length.
func (s *ServerStream) read(secure bool, opts *ServerOptions) *failure.Error {
	r := s.r
	s.req = message.Request{
		Proto:         message.HTTP2,
		Method:        r.Method,
		Scheme:        "http",
		Authority:     r.Host,
		Path:          r.RequestURI,
		ContentLength: r.ContentLength,
		Header:        flatten(r.Header),
	}
	if secure {
		s.req.Scheme = "https"
	}
	if len(r.Trailer) > 0 {
		// x/net takes the Trailer field out; what it named is forwarded.
		names := make([]string, 0, len(r.Trailer))
		for _, f := range flatten(blank(r.Trailer)) {
			names = append(names, f.Name)
		}
		s.req.Header.Add("trailer", strings.Join(names, ", "))
	}
	// A method with a space would become another request line in HTTP/1 (RFC 9110, 9.1: it is a token).
	if !httpguts.ValidHeaderFieldName(r.Method) {
		return badRequest(":method is not a token")
	}
	if r.Method == http.MethodConnect {
		return badRequest("CONNECT is not supported")
	}
	if err := checkPath(r.RequestURI, r.Method); err != nil {
		return err
	}
	// RFC 9113, 8.3.1: an authority there must be for http and https.
	if r.Host == "" {
		return badRequest("neither :authority nor host")
	}
	if opts.MaxHeaderCount > 0 && len(s.req.Header) > opts.MaxHeaderCount {
		return failure.Newf(failure.HeadersTooLarge, "%d fields, at most %d", len(s.req.Header), opts.MaxHeaderCount)
	}
	for _, f := range s.req.Header {
		// RFC 9113, 8.2.1: no white space at the ends of a value.
		if v := f.Value; v != "" && (isBlank(v[0]) || isBlank(v[len(v)-1])) {
			return badRequest("field %q: white space around its value", f.Name)
		}
	}
	return s.checkLength()
}

// checkLength holds Content-Length against the end of the stream (RFC 9113, 8.1.1). x/net takes one it cannot read
// for 0, and checks none if no DATA follows.
func (s *ServerStream) checkLength() *failure.Error {
	values := s.r.Header["Content-Length"]
	for i, v := range values {
		n, err := strconv.ParseUint(v, 10, 63)
		if err != nil {
			return badRequest("content-length %q is not a number", v)
		}
		if v != values[0] {
			return badRequest("content-length %q and %q", values[0], v)
		}
		if i > 0 {
			continue
		}
		if s.r.ContentLength == 0 && n != 0 {
			return badRequest("content-length %d without a body", n)
		}
	}
	if len(values) > 1 {
		s.req.Header.Set("content-length", values[0])
	}
	return nil
}

func checkPath(path, method string) *failure.Error {
	if path == "*" && method != http.MethodOptions {
		return badRequest(`:path "*" is for OPTIONS`)
	}
	for i := range len(path) {
		// What stands here would stand in an HTTP/1 request line (RFC 9112, 3.2); a fragment is the client's own.
		if c := path[i]; c <= ' ' || c == 0x7f || c == '#' {
			return badRequest(":path holds byte %#02x", c)
		}
	}
	return nil
}

// blank gives every name one empty value, so that flatten lists the names.
func blank(h http.Header) http.Header {
	b := make(http.Header, len(h))
	for name := range h {
		b[name] = []string{""}
	}
	return b
}

// Read reads the request's body. At io.EOF Request().Trailer is filled. The first Read sends the 100 that an Expect
// asks for.
func (s *ServerStream) Read(p []byte) (int, error) {
	n, err := s.r.Body.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		if s.req.Trailer == nil {
			s.req.Trailer = flatten(s.r.Trailer)
		}
		return n, io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, failure.New(failure.RequestTimeout, err)
	case strings.Contains(err.Error(), "declared"):
		// DATA disagrees with Content-Length, either way.
		return n, failure.New(failure.BadRequest, err)
	default:
		return n, failure.New(failure.ClientGone, err)
	}
}

// Respond sends the head, at once if the body's length is not known; end says that nothing follows. A status from 100 to 199 may go before, 101 aside.
func (s *ServerStream) Respond(head *message.Response, end bool) error {
	h := s.w.Header()
	clear(h)
	for _, f := range head.Header {
		low := lower(f.Name)
		if connectionField(low) || low == "te" ||
			!httpguts.ValidHeaderFieldName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
			continue
		}
		own(h, low, f.Value)
	}
	if head.Status < 200 {
		if head.Status <= http.StatusSwitchingProtocols {
			// RFC 9113, 8.6: there is no 101. A 100 goes out by the first Read.
			clear(h)
			return nil
		}
		s.w.WriteHeader(head.Status)
		clear(h)
		return s.gone()
	}
	// An empty list keeps x/net from adding a field of its own.
	for _, name := range [...]string{"Date", "Content-Type", "Content-Length"} {
		if _, ok := h[name]; !ok {
			h[name] = nil
		}
	}
	// x/net reads the names of trailers from the Trailer field, and their values from the map that is left.
	s.w.WriteHeader(head.Status)
	clear(h)
	s.responded, s.bodyless = true, end
	if end {
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
		return s.gone()
	}
	if !hasLength(head) {
		// A stream (gRPC, events): its head is news before its first byte comes.
		return s.Flush()
	}
	return s.gone()
}

func hasLength(head *message.Response) bool {
	return head.ContentLength > 0 || head.Header.Has("content-length")
}

// gone is a failure if the client no longer takes an answer.
func (s *ServerStream) gone() error {
	if err := s.r.Context().Err(); err != nil {
		return failure.New(failure.ClientGone, err)
	}
	return nil
}

// Write sends a part of the body; it waits while the client's windows are full.
func (s *ServerStream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		return n, failure.New(failure.ClientGone, err)
	}
	return n, nil
}

// Flush sends what is buffered.
func (s *ServerStream) Flush() error {
	if s.bodyless {
		// The head waits for the handler's return, to go out with END_STREAM: gRPC's trailers-only answers need it so.
		return nil
	}
	if err := http.NewResponseController(s.w).Flush(); err != nil {
		return failure.New(failure.ClientGone, err)
	}
	return nil
}

// End ends the answer; trailer may be nil. END_STREAM is sent when the handler returns.
func (s *ServerStream) End(trailer message.Header) error {
	trailerMap(s.w.Header(), trailer, http.TrailerPrefix)
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	return s.gone()
}

// Reset breaks the answer off at once with RST_STREAM, and wakes Read and Write. Any goroutine may call it.
func (s *ServerStream) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done || s.reset {
		return
	}
	s.reset = true
	// A deadline that has passed makes x/net reset the stream now, not when the handler returns.
	_ = http.NewResponseController(s.w).SetWriteDeadline(time.Unix(1, 0))
}

// finish ends our use of the stream; true if the answer must not be taken for a whole one.
func (s *ServerStream) finish() (broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	return s.reset || !s.ended || !s.responded
}

// refuse answers a request that never reaches a handler.
func (s *ServerStream) refuse(why *failure.Error) {
	text := why.Text() + "\n"
	head := message.Response{Status: why.Status(), Header: message.Header{
		{Name: "content-type", Value: "text/plain"},
		{Name: "content-length", Value: strconv.Itoa(len(text))},
	}}
	if s.Respond(&head, false) == nil {
		_, _ = s.Write([]byte(text))
	}
	s.mu.Lock()
	s.done = true
	s.mu.Unlock()
}
