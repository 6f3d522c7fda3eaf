package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/http1/http1test"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// fuzzLimit is in bytes: cutting costs their square, and what is longer says nothing new.
const fuzzLimit = 6 << 10

func cuts(seed []byte) []int {
	sizes := make([]int, len(seed))
	for i, b := range seed {
		sizes[i] = int(b)
	}
	return sizes
}

// memory is a connection whose other side has said all it will, and hears everything.
type memory struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (m *memory) Read(p []byte) (int, error)         { return m.in.Read(p) }
func (m *memory) Write(p []byte) (int, error)        { return m.out.Write(p) }
func (m *memory) Close() error                       { return nil }
func (m *memory) SetDeadline(time.Time) error        { return nil }
func (m *memory) SetReadDeadline(time.Time) error    { return nil }
func (m *memory) SetWriteDeadline(t time.Time) error { return nil }

// passed is a message as it stands behind us: without what is about a connection.
func passed(m http1test.Message) string {
	m.End = ""
	m.Fields = slices.DeleteFunc(slices.Clone(m.Fields), func(f http1test.Field) bool {
		return aboutConnection(f.Name) || strings.EqualFold(f.Name, "date")
	})
	return m.String()
}

func toHeader(fields []http1test.Field) (h message.Header) {
	for _, f := range fields {
		h.Add(f.Name, f.Value)
	}
	return h
}

// FuzzRequest: however the bytes are cut, they mean the same; what is accepted can be serialized, and means the same again;
// and it means to net/http what it means to us, if it is accepted there.
func FuzzRequest(f *testing.F) {
	for _, c := range load(f, "requests") {
		if len(c.Bytes()) <= fuzzLimit {
			f.Add(c.Bytes(), []byte{1, 7, 30})
		}
	}
	f.Fuzz(func(t *testing.T, input string, seed []byte) {
		if len(input) > fuzzLimit {
			return
		}
		whole := requests(input, true, nil, false)
		if cut := requests(input, true, cuts(seed), true); text(cut) != text(whole) {
			t.Fatalf("%q cut as %v\ngot  %s\nwant %s", input, seed, text(cut), text(whole))
		}
		m := whole[0]
		if m.Refused() || m.Head == "more" || !m.Whole() || m.Method() == "CONNECT" {
			return
		}
		p := NewRequestParser(Limits{}, false, true, false)
		if n, why := p.Parse([]byte(input)); n == 0 || why != nil {
			t.Fatalf("%q: %d, %v", input, n, why)
		}
		if len(p.Request.Header) >= DefaultHeaderCount-1 {
			return // what we add would be too much
		}
		conn := &memory{}
		up := NewClientConn(conn, Limits{})
		up.Begin()
		req := p.Request
		err := up.WriteRequest(&req, req.ContentLength == 0)
		if err == nil && req.ContentLength != 0 {
			if _, err = up.Write([]byte(m.Body)); err == nil {
				err = up.End(toHeader(m.Trailers))
			}
		}
		if err != nil {
			t.Fatalf("%q was read but cannot be written: %v", input, err)
		}
		again := requests(conn.out.String(), true, nil, false)
		if len(again) != 1 || !again[0].Whole() || passed(again[0]) != passed(m) {
			t.Fatalf("%q was written as %q\ngot  %s\nwant %s", input, conn.out.String(), text(again), passed(m))
		}
		agree(t, input, &p.Request, m)
	})
}

// agree holds what we understood against net/http.
func agree(t *testing.T, input string, ours *message.Request, m http1test.Message) {
	theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimPrefix(input, "\r\n"))))
	if err != nil {
		return
	}
	if theirs.Method != ours.Method || !strings.EqualFold(theirs.Host, ours.Authority) || theirs.ContentLength != ours.ContentLength {
		t.Fatalf("%q\ngot  %s %s %d\nwant %s %s %d", input, ours.Method, ours.Authority, ours.ContentLength,
			theirs.Method, theirs.Host, theirs.ContentLength)
	}
	if uri := theirs.RequestURI; uri != ours.Path && !strings.Contains(uri, "://") {
		t.Fatalf("%q: got the path %q, want %q", input, ours.Path, uri)
	}
	body, err := io.ReadAll(theirs.Body)
	if err == nil && string(body) != m.Body {
		t.Fatalf("%q: got the body %q, want %q", input, m.Body, body)
	}
}

// FuzzResponse: as FuzzRequest, for answers.
func FuzzResponse(f *testing.F) {
	for _, c := range load(f, "answers") {
		if len(c.Bytes()) <= fuzzLimit {
			f.Add(c.Bytes(), c.Method == "HEAD", []byte{1, 7, 30})
		}
	}
	f.Fuzz(func(t *testing.T, input string, head bool, seed []byte) {
		if len(input) > fuzzLimit {
			return
		}
		method := "GET"
		if head {
			method = "HEAD"
		}
		whole := responses(input, method, nil, false)
		if cut := responses(input, method, cuts(seed), true); text(cut) != text(whole) {
			t.Fatalf("%q cut as %v\ngot  %s\nwant %s", input, seed, text(cut), text(whole))
		}
		m := whole[0]
		if len(whole) > 1 || m.Refused() || m.Head == "more" || !m.Whole() {
			return
		}
		p := NewResponseParser(Limits{})
		p.Reset(method)
		if n, why := p.Parse([]byte(input)); n == 0 || why != nil {
			t.Fatalf("%q: %d, %v", input, n, why)
		}
		if len(p.Response.Header) >= DefaultHeaderCount-3 {
			return // what we add would be too much
		}
		conn := &memory{in: strings.NewReader(method + " / HTTP/1.1\r\nHost: a.test\r\n\r\n")}
		ServeConn(conn, ServerOptions{}, func(s *ServerStream) {
			res := p.Response
			res.Reason = ""
			if err := s.Respond(&res, res.ContentLength == 0); err != nil {
				t.Fatalf("%q was read but cannot be written: %v", input, err)
			}
			_, _ = s.Write([]byte(m.Body))
			if err := s.End(toHeader(m.Trailers)); err != nil {
				t.Fatalf("%q was read but cannot be written: %v", input, err)
			}
		})
		again := responses(conn.out.String(), method, nil, false)
		m.Head, again[0].Head = m.Method(), again[0].Method() // without the reason
		if len(again) != 1 || !again[0].Whole() || passed(again[0]) != passed(m) {
			t.Fatalf("%q was written as %q\ngot  %s\nwant %s", input, conn.out.String(), text(again), passed(m))
		}
		theirs, err := http.ReadResponse(bufio.NewReader(strings.NewReader(input)), &http.Request{Method: method})
		if err != nil {
			return
		}
		body, err := io.ReadAll(theirs.Body)
		if theirs.StatusCode != p.Response.Status || err == nil && string(body) != m.Body {
			t.Fatalf("%q\ngot  %d %q\nwant %d %q", input, p.Response.Status, m.Body, theirs.StatusCode, body)
		}
	})
}

// FuzzChunked: however the bytes are cut, they mean the same; and what we accept is the same body to net/http.
func FuzzChunked(f *testing.F) {
	for _, c := range append(load(f, "requests"), load(f, "answers")...) {
		if _, body, ok := strings.Cut(c.Bytes(), "\r\n\r\n"); ok && strings.HasPrefix(c.Group, "chunk") && len(body) <= fuzzLimit {
			f.Add(body, []byte{1, 7, 30})
		}
	}
	f.Fuzz(func(t *testing.T, input string, seed []byte) {
		if len(input) > fuzzLimit {
			return
		}
		run := func(sizes []int) (http1test.Message, string) {
			var m http1test.Message
			var body Body
			body.Reset(FramedChunked, -1, Limits{})
			in := &feed{data: []byte(input), sizes: sizes}
			readBody(&m, &body, in, "400")
			return m, fmt.Sprintf("%s, %d bytes", m, in.used)
		}
		m, whole := run(nil)
		if _, cut := run(cuts(seed)); cut != whole {
			t.Fatalf("%q cut as %v\ngot  %s\nwant %s", input, seed, cut, whole)
		}
		if m.End != "" {
			return
		}
		theirs, err := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(input)))
		// It refuses white space before an extension, and leading zeros beyond 16 digits.
		if err == nil && string(theirs) != m.Body || !strings.HasPrefix(m.Body, string(theirs)) {
			t.Fatalf("%q: got %q, want %q, %v", input, m.Body, theirs, err)
		}
	})
}
