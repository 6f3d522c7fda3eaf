package http2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// block is a field section.
func block(fields ...string) []byte {
	var b bytes.Buffer
	encoder := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

// readSection is what becomes of a section: as a request, an answer, or trailers. It is nil if it is refused.
func readSection(r *fieldReader, s section, fragments ...[]byte) (*message.Request, *message.Response, message.Header, error) {
	r.begin(s, nil)
	for _, f := range fragments {
		if err := r.write(f); err != nil {
			return nil, nil, nil, err
		}
	}
	tooLarge, why, err := r.end()
	switch {
	case err != nil:
		return nil, nil, nil, err
	case tooLarge:
		return nil, nil, nil, fmt.Errorf("too large")
	case why != nil:
		return nil, nil, nil, why
	}
	switch s {
	case requestSection:
		req := &message.Request{}
		if why := r.request(req, false, true); why != nil {
			return nil, nil, nil, why
		}
		return req, nil, nil, nil
	case responseSection:
		res := &message.Response{}
		if why := r.response(res, false); why != nil {
			return nil, nil, nil, why
		}
		return nil, res, nil, nil
	}
	return nil, nil, r.trailer(), nil
}

// FuzzFields: nothing that HTTP/1 would take for another message, or for more than one, gets through HPACK.
func FuzzFields(f *testing.F) {
	good := request("POST", "/a?b", "content-length", "3", "cookie", "a=1", "cookie", "b=2", "te", "trailers", "host", "shop.test")
	for kind, seed := range [][]string{
		good, {":status", "200", "content-length", "3", "x", "y"}, {"grpc-status", "0"},
		request("GET", "/\r\nx: y"), request("GET / HTTP/1.1\r\nx", "/"), request("GET", "/", "a\r\nb", "c"),
		request("GET", "/", "a", "b\r\nc: d"), request("GET", "/", "a:b", "c"), request("GET", "/", "transfer-encoding", "chunked"),
		request("GET", "/", "content-length", "1", "content-length", "2"), request("GET", "/", "", "x"), request("GET", "/", "a", "\x00"),
		request("GET", "/", "cookie", "", "cookie", ""), append([]string{":protocol", "websocket"}, request("CONNECT", "/chat")...),
		append([]string{":protocol", "a b"}, request("CONNECT", "/")...), append([]string{":protocol", "x"}, request("CONNECT", "*")...),
	} {
		f.Add(block(seed...), uint8(kind), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, kind, cut uint8) {
		r := newFieldReader(4<<10, 20)
		r.connect = true
		at := min(int(cut), len(data))
		// Twice: what the first left in HPACK's table is there for the second.
		for range 2 {
			req, res, trailer, err := readSection(r, section(kind%3), data[:at], data[at:])
			if _, fatal := err.(connectionError); fatal {
				return
			}
			header := trailer
			if req != nil {
				header = req.Header
				checkRequestHead(t, req)
			}
			if res != nil {
				header = res.Header
				if res.Status < 100 || res.Status > 999 {
					t.Fatalf("status %d", res.Status)
				}
			}
			checkFields(t, header)
		}
	})
}

func checkRequestHead(t *testing.T, req *message.Request) {
	t.Helper()
	if !http1.ValidName(req.Method) || req.Method == "CONNECT" || req.Scheme != "https" ||
		!http1.ValidTarget(req.Path) || req.Path[0] != '/' && (req.Path != "*" || req.Method != "OPTIONS") ||
		!http1.ValidAuthority(req.Authority) {
		t.Fatalf("%+v", req)
	}
	if req.Upgrade != "" && (!http1.ValidName(req.Upgrade) || req.Method != "GET" || req.ContentLength != 0) {
		t.Fatalf("upgrade: %+v", req)
	}
	if req.Header.Has("host") {
		t.Fatal("host stands beside the authority")
	}
	lengths, cookies := 0, 0
	for _, f := range req.Header {
		switch f.Name {
		case "content-length":
			lengths++
			if n, ok := http1.ParseLength(f.Value); !ok || n != max(0, req.ContentLength) {
				t.Fatalf("length %d, content-length %q", req.ContentLength, f.Value)
			}
		case "cookie":
			cookies++
		}
	}
	if lengths > 1 || cookies > 1 {
		t.Fatalf("%d lengths, %d cookies", lengths, cookies)
	}
	// What goes on in HTTP/1 is one request, and means the same there.
	var wire strings.Builder
	fmt.Fprintf(&wire, "%s %s HTTP/1.1\r\nhost: %s\r\n", req.Method, req.Path, req.Authority)
	for _, f := range req.Header {
		fmt.Fprintf(&wire, "%s: %s\r\n", f.Name, f.Value)
	}
	wire.WriteString("\r\n")
	parser := http1.NewRequestParser(http1.Limits{}, true, false, false)
	n, why := parser.Parse([]byte(wire.String()))
	if why != nil || n != wire.Len() || len(parser.Request.Header) != len(req.Header) {
		t.Fatalf("as HTTP/1: %d of %d bytes, %d fields, %v:\n%s", n, wire.Len(), len(parser.Request.Header), why, wire.String())
	}
}

func checkFields(t *testing.T, h message.Header) {
	t.Helper()
	for _, f := range h {
		if !http1.ValidName(f.Name) || f.Name != strings.ToLower(f.Name) || strings.Contains(f.Name, ":") ||
			!http1.ValidValue(f.Value) || strings.ContainsAny(f.Value, "\r\n\x00") || strings.Trim(f.Value, " \t") != f.Value ||
			connectionField(f.Name) {
			t.Fatalf("field %q: %q", f.Name, f.Value)
		}
	}
}

// TestResponseSection is what an upstream's head may be.
func TestResponseSection(t *testing.T) {
	for _, test := range []struct {
		name   string
		fields []string
		want   string
	}{
		{"good", []string{":status", "200", "b", "1", "a", "2", "b", "3"}, "200 -1 [{b 1} {a 2} {b 3}]"},
		{"length", []string{":status", "200", "content-length", "3", "content-length", "3"}, "200 3 [{content-length 3}]"},
		{"no status", []string{"a", "1"}, "malformed"},
		{"two", []string{":status", "200", ":status", "200"}, "malformed"},
		{"late", []string{"a", "1", ":status", "200"}, "malformed"},
		{"a request's", []string{":status", "200", ":path", "/"}, "malformed"},
		{"short", []string{":status", "20"}, "malformed"},
		{"long", []string{":status", "0200"}, "malformed"},
		{"zero", []string{":status", "000"}, "malformed"},
		{"no number", []string{":status", "+20"}, "malformed"},
		{"connection", []string{":status", "200", "connection", "close"}, "malformed"},
		{"LF", []string{":status", "200", "a", "b\nc"}, "malformed"},
		{"length not a number", []string{":status", "200", "content-length", "0x3"}, "malformed"},
		{"length too large", []string{":status", "200", "content-length", "9999999999999999999"}, "malformed"},
		{"lengths", []string{":status", "200", "content-length", "3", "content-length", "4"}, "malformed"},
	} {
		_, res, _, err := readSection(newFieldReader(0, 0), responseSection, block(test.fields...))
		got := "malformed"
		if err == nil {
			got = fmt.Sprint(res.Status, " ", res.ContentLength, " ", res.Header)
		}
		want(t, test.name, got, test.want)
	}
}

// TestCookieCrumbs: what becomes of many Cookie fields, of which some may be empty.
func TestCookieCrumbs(t *testing.T) {
	for _, test := range []struct{ crumbs, want string }{
		{"a=1", "[{cookie a=1}]"},
		{"a=1|b=2|c=3", "[{cookie a=1; b=2; c=3}]"},
		{"|", "[{cookie }]"},
		{"|a=1", "[{cookie a=1}]"},
		{"a=1|", "[{cookie a=1}]"},
		{"a=1||b=2||", "[{cookie a=1; b=2}]"},
	} {
		fields := request("GET", "/")
		for crumb := range strings.SplitSeq(test.crumbs, "|") {
			fields = append(fields, "cookie", crumb)
		}
		req, _, _, err := readSection(newFieldReader(0, 0), requestSection, block(fields...))
		if err != nil {
			t.Fatal(err)
		}
		want(t, test.crumbs, fmt.Sprint(req.Header), test.want)
	}
}

func TestWindows(t *testing.T) {
	w := sendWindow(initialWindow)
	w.take(initialWindow)
	want(t, "available", w.available(), 0)
	want(t, "open", w.open(-1000), true)
	want(t, "available below zero", w.available(), 0)
	want(t, "open to the most", w.open(maxWindow+1000), true)
	want(t, "one more", w.open(1), false)
	want(t, "available", w.available(), maxWindow)

	r := newReceiveWindow(10)
	want(t, "more than all", r.receive(11), false)
	want(t, "all", r.receive(10), true)
	want(t, "one more", r.receive(1), false)
	want(t, "less than half", r.read(4), 0)
	want(t, "half", r.read(1), 5)
	want(t, "what was credited", r.receive(5), true)
	want(t, "and no more", r.receive(1), false)
	r = newReceiveWindow(1)
	want(t, "the smallest", r.receive(1), true)
	want(t, "nothing read", r.read(0), 0)
	want(t, "the smallest, read", r.read(1), 1)
}

// TestSectionLimits: a section ends, one way or the other.
func TestSectionLimits(t *testing.T) {
	pieces := func(piece []byte) (n int) {
		r := newFieldReader(60<<10, 0)
		r.begin(requestSection, nil)
		for r.write(piece) == nil {
			n++
		}
		return n
	}
	want(t, "empty pieces", pieces(nil), 8+15)
	want(t, "large pieces", pieces(bytes.Repeat([]byte{0x82}, 16<<10)), 8)
}

// TestForbiddenTrailers: what frames or routes a message is dropped where it comes too late.
func TestForbiddenTrailers(t *testing.T) {
	_, _, trailer, err := readSection(newFieldReader(0, 0), trailerSection,
		block("x", "1", "content-length", "3", "host", "other.test", "trailer", "x", "te", "trailers", "y", "2"))
	want(t, "trailer", fmt.Sprint(trailer, err), "[{x 1} {y 2}] <nil>")
}

func TestRecentStreams(t *testing.T) {
	var r recentStreams
	for id := uint32(1); id < 4*maxRecent; id += 2 {
		r.add(id)
	}
	want(t, "length", len(r.ids), maxRecent)
	want(t, "the last", r.has(4*maxRecent-1), true)
	want(t, "one of long ago", r.has(1), false)
}
