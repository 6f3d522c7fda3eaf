package http2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// maxEarly is how many 1xx heads may wait for ReadResponse; an upstream that sends more is broken.
const maxEarly = 16

type roundTrip struct {
	res *http.Response
	err error
}

// ClientStream is one exchange with an upstream. One goroutine may write (WriteRequest, Write, End) while another
// reads (ReadResponse, Read). Close may be called by any, at any time, and wakes both.
type ClientStream struct {
	conn   *ClientConn
	ctx    context.Context
	cancel context.CancelFunc
	// reused: streams came before on this connection. noBody: the answer has none, whatever its length says.
	reused, noBody bool

	// Only who writes. body is nil if WriteRequest said that none follows; trailer is read by x/net's goroutine after
	// body is closed.
	body    *io.PipeWriter
	request *http.Request
	trailer http.Header

	early chan *message.Response
	// trip is set before answered is closed.
	answered chan struct{}
	trip     roundTrip

	mu sync.Mutex
	// Guarded by mu.
	begun, closed bool
	res           *http.Response
	head          *message.Response
}

// WriteRequest sends the head; end says that no body follows. Fields about a connection are left out, Host becomes
// :authority, and TE keeps "trailers" alone.
func (s *ClientStream) WriteRequest(head *message.Request, end bool) error {
	// The request outlives this call, and its strings may not.
	host := strings.Clone(head.Authority)
	req := &http.Request{
		Method: strings.Clone(head.Method),
		// Opaque carries the path as it is: URL's own Path would be decoded and encoded again.
		URL:        &url.URL{Scheme: strings.Clone(head.Scheme), Host: host, Opaque: "//" + host + head.Path},
		Host:       host,
		Proto:      "HTTP/2.0",
		ProtoMajor: 2,
		Header:     requestHeader(head.Header),
	}
	if head.Path == "*" {
		req.URL.Opaque = "*"
	}
	if !end {
		var reader *io.PipeReader
		reader, s.body = io.Pipe()
		req.Body = &requestBody{PipeReader: reader, stream: s}
		req.ContentLength = -1
		if head.ContentLength > 0 {
			req.ContentLength = head.ContentLength
		}
		for _, name := range declaredTrailers(head.Header) {
			if req.Trailer == nil {
				req.Trailer = http.Header{}
			}
			req.Trailer[name] = nil
		}
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: s.got1xx}
	s.request = req.WithContext(httptrace.WithClientTrace(s.ctx, trace))

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return failure.New(failure.Reset, errClosed)
	}
	if !s.conn.conn.ReserveNewRequest() {
		return &failure.Error{Kind: failure.Reset, Retryable: true, Err: errNoStream}
	}
	s.reused = s.conn.opened.Add(1) > 1
	s.begun = true
	go func() {
		s.trip.res, s.trip.err = s.conn.conn.RoundTrip(s.request)
		close(s.answered)
	}()
	return nil
}

var (
	errClosed   = errors.New("exchange closed")
	errNoStream = errors.New("the connection takes no more streams")
)

// requestHeader makes x/net's map: it leaves Host and Content-Length out by itself.
func requestHeader(fields message.Header) http.Header {
	h := make(http.Header, len(fields)+1)
	// An empty list: x/net adds no User-Agent of its own.
	h["User-Agent"] = nil
	for _, f := range fields {
		low := lower(f.Name)
		if connectionField(low) {
			continue
		}
		switch low {
		case "host", "content-length", "trailer":
			continue
		case "te":
			if trailersOnly(f.Value) {
				h["Te"] = []string{"trailers"}
			}
			continue
		}
		own(h, low, f.Value)
	}
	return h
}

// Write sends a part of the request's body; it waits while the upstream's windows are full. It fails if the upstream
// wants no more: an answer may then stand ready for ReadResponse.
func (s *ClientStream) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := s.body.Write(p)
	if err != nil {
		return n, failure.New(failure.Reset, err)
	}
	return n, nil
}

// Flush does nothing: what Write took is sent.
func (s *ClientStream) Flush() error { return nil }

// End ends the request's body. Trailers go out if the head's Trailer field named them.
func (s *ClientStream) End(trailer message.Header) error {
	if s.body == nil {
		return nil
	}
	if len(s.request.Trailer) > 0 {
		s.trailer = http.Header{}
		trailerMap(s.trailer, trailer, "")
	}
	return s.body.Close()
}

// requestBody fills the trailers in at its end: x/net's goroutine reads them next, and no other touches the map.
type requestBody struct {
	*io.PipeReader
	stream *ClientStream
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.PipeReader.Read(p)
	if err == io.EOF {
		for name := range b.stream.request.Trailer {
			b.stream.request.Trailer[name] = b.stream.trailer[name]
		}
	}
	return n, err
}

// got1xx runs in the connection's reading goroutine, so it must not wait.
func (s *ClientStream) got1xx(status int, header textproto.MIMEHeader) error {
	if status == http.StatusSwitchingProtocols {
		return errors.New("status 101 (RFC 9113, 8.6)")
	}
	select {
	case s.early <- &message.Response{Proto: message.HTTP2, Status: status, Header: flatten(http.Header(header))}:
		return nil
	default:
		return errors.New("too many informational answers")
	}
}

// ReadResponse waits for a head: those of status 1xx come one by one before the final one.
func (s *ClientStream) ReadResponse() (*message.Response, error) {
	select {
	case head := <-s.early:
		return head, nil
	case <-s.answered:
	case <-s.ctx.Done():
		return nil, failure.New(failure.Reset, errClosed)
	}
	// What came before the final head is read before it.
	select {
	case head := <-s.early:
		return head, nil
	default:
	}
	if s.trip.err != nil {
		return nil, s.failed(s.trip.err)
	}
	return s.final(s.trip.res)
}

func (s *ClientStream) final(res *http.Response) (*message.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		res.Body.Close()
		return nil, failure.New(failure.Reset, errClosed)
	}
	s.res = res
	if res.StatusCode < 100 || res.StatusCode > 999 {
		return nil, failure.Newf(failure.BadResponse, "status %d", res.StatusCode)
	}
	// RFC 9110, 6.4.1: these have no body, and Content-Length may still say how long one would have been.
	s.noBody = s.request.Method == http.MethodHead || res.StatusCode == http.StatusNoContent ||
		res.StatusCode == http.StatusNotModified
	head := &message.Response{
		Proto:         message.HTTP2,
		Status:        res.StatusCode,
		Header:        flatten(res.Header),
		ContentLength: res.ContentLength,
	}
	switch {
	case s.noBody:
		head.ContentLength = 0
	case res.ContentLength == 0 && head.Header.Has("content-length"):
		// x/net does not tell whether the stream has ended: trailers may follow. Read finds out.
		head.ContentLength = -1
	}
	if len(res.Trailer) > 0 {
		names := make([]string, 0, len(res.Trailer))
		for _, f := range flatten(blank(res.Trailer)) {
			names = append(names, f.Name)
		}
		head.Header.Add("trailer", strings.Join(names, ", "))
	}
	s.head = head
	return head, nil
}

// Read reads the answer's body. At io.EOF the head's Trailer is filled.
func (s *ClientStream) Read(p []byte) (int, error) {
	s.mu.Lock()
	res, head, closed := s.res, s.head, s.closed
	s.mu.Unlock()
	if closed || res == nil {
		return 0, failure.New(failure.Reset, errClosed)
	}
	if s.noBody {
		return 0, io.EOF
	}
	n, err := res.Body.Read(p)
	switch {
	case err == nil:
		return n, nil
	case err == io.EOF:
		if head.Trailer == nil {
			head.Trailer = flatten(res.Trailer)
		}
		return n, io.EOF
	case strings.Contains(err.Error(), "declared Content-Length"):
		return n, failure.New(failure.BadResponse, err)
	default:
		e := s.failed(err)
		e.Retryable = false
		return n, e
	}
}

// failed names what x/net's error means. Its sentinel errors are not exported, so they are known by their text;
// TestUpstreamFailures holds it against x/net.
func (s *ClientStream) failed(err error) *failure.Error {
	text := err.Error()
	switch {
	case strings.Contains(text, "graceful shutdown GOAWAY"),
		strings.Contains(text, "client conn not usable"),
		strings.Contains(text, "client conn could not be established"):
		// The upstream did not process it: RFC 9113, 6.8.
		return &failure.Error{Kind: failure.Reset, Retryable: true, Err: err}
	case errors.Is(err, context.Canceled):
		return failure.New(failure.Reset, errClosed)
	}
	var stream xhttp2.StreamError
	if errors.As(err, &stream) {
		if stream.Code == xhttp2.ErrCodeRefusedStream {
			// RFC 9113, 8.7: not processed.
			return &failure.Error{Kind: failure.Reset, Retryable: true, Err: err}
		}
		if stream.Cause != nil && stream.Cause.Error() == "received from peer" {
			return failure.New(failure.Reset, err)
		}
		return failure.New(failure.BadResponse, err)
	}
	var conn xhttp2.ConnectionError
	if errors.As(err, &conn) {
		return failure.New(failure.BadResponse, err)
	}
	return &failure.Error{Kind: failure.Reset, Retryable: s.reused, Err: err}
}

// Close ends the exchange: a whole one leaves no trace, another is reset with CANCEL. The connection lives on either
// way, so the argument says nothing here.
func (s *ClientStream) Close(_ bool) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	begun, res := s.begun, s.res
	s.mu.Unlock()
	s.cancel()
	if !begun {
		return
	}
	if s.body != nil {
		_ = s.body.CloseWithError(errClosed)
	}
	if res == nil {
		// RoundTrip returns soon once its context has ended. Its body must be closed, or the bytes that wait in it
		// stay taken off the connection's window.
		go func() {
			if <-s.answered; s.trip.res != nil {
				s.trip.res.Body.Close()
			}
		}()
		return
	}
	res.Body.Close()
}
