package http1

import (
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/http1/http1test"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

func load(t testing.TB, dir string) []*http1test.Case {
	t.Helper()
	cases, err := http1test.Load("testdata/" + dir)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// feed hands a string out in the given pieces; more than there are pieces is the rest.
type feed struct {
	data  []byte
	sizes []int
	// visible is how much may be seen, used how much is used up.
	visible, used int
	fresh         bool
}

// more shows another piece, at another place in memory; false if all is shown.
func (f *feed) more() bool {
	if f.visible == len(f.data) {
		return false
	}
	n := len(f.data) - f.visible
	if len(f.sizes) > 0 {
		n = min(n, max(1, f.sizes[0]))
		f.sizes = f.sizes[1:]
	}
	f.visible += n
	if f.fresh {
		f.data = append([]byte(nil), f.data...)
	}
	return true
}

func (f *feed) bytes() []byte { return f.data[f.used:f.visible] }

// head feeds a parser until the head is whole; "" or what became of it instead.
func (f *feed) head(parse func([]byte) (int, error)) (instead string) {
	for {
		if !f.more() && len(f.bytes()) == 0 {
			return "more"
		}
		n, failed := parse(f.bytes())
		if failed != nil {
			return failed.Error()
		}
		if n > 0 {
			f.used += n
			return ""
		}
		if f.visible == len(f.data) {
			return "more"
		}
	}
}

func fields(h message.Header, skip ...string) (list []http1test.Field) {
	for _, f := range h {
		hidden := false
		for _, s := range skip {
			hidden = hidden || message.EqualName(f.Name, s)
		}
		if !hidden {
			list = append(list, http1test.Field{Name: strings.Clone(f.Name), Value: strings.Clone(f.Value)})
		}
	}
	return list
}

// readBody reads a body into m.
func readBody(m *http1test.Message, body *Body, f *feed, refusal string) {
	for !body.Done() {
		if len(f.bytes()) == 0 && !f.more() {
			if m.End = "more"; body.Direct() < 0 {
				m.End = "end"
			}
			break
		}
		data, n, v := body.Parse(f.bytes())
		m.Body += string(data)
		f.used += n
		if v != nil {
			m.End = refusal
			break
		}
		if len(data) > 0 {
			f.used += body.Skip(f.bytes())
		}
	}
	m.Trailers = fields(body.Trailer)
}

// status is an error that says only its status.
type status int

func (s status) Error() string { return strconv.Itoa(int(s)) }

// requests is what a connection's bytes mean, however they are cut.
func requests(data string, http10 bool, sizes []int, fresh bool) (out []http1test.Message) {
	f := &feed{data: []byte(data), sizes: sizes, fresh: fresh}
	p := NewRequestParser(Limits{}, false, http10, false)
	for {
		p.Reset()
		if f.used == len(f.data) && len(out) > 0 {
			return out
		}
		if instead := f.head(func(b []byte) (int, error) {
			n, failed := p.Parse(b)
			if failed != nil {
				return 0, status(failed.Status())
			}
			return n, nil
		}); instead != "" {
			return append(out, http1test.Message{Head: instead})
		}
		r := &p.Request
		path := r.Path
		if path == "" {
			path = "-"
		}
		m := http1test.Message{Head: r.Method + " " + r.Authority + " " + path, Fields: fields(r.Header, "content-length", "transfer-encoding")}
		var body Body
		framing := FramedEmpty
		if p.Chunked {
			framing = FramedChunked
		} else if r.ContentLength > 0 {
			framing = FramedLength
		}
		body.Reset(framing, r.ContentLength, Limits{})
		persists := p.Persists
		readBody(&m, &body, f, "400")
		if !persists && m.End == "" && r.Method != "CONNECT" {
			m.End = "end"
		}
		out = append(out, m)
		if m.End != "" || !persists {
			return out
		}
	}
}

// responses is what an upstream's bytes mean, however they are cut.
func responses(data, method string, sizes []int, fresh bool) (out []http1test.Message) {
	f := &feed{data: []byte(data), sizes: sizes, fresh: fresh}
	p := NewResponseParser(Limits{})
	for {
		p.Reset(method)
		if instead := f.head(func(b []byte) (int, error) {
			n, failed := p.Parse(b)
			if failed != nil {
				return 0, status(failed.Status())
			}
			return n, nil
		}); instead != "" {
			return append(out, http1test.Message{Head: instead})
		}
		r := &p.Response
		m := http1test.Message{Head: strings.TrimSpace(strconv.Itoa(r.Status) + " " + r.Reason), Fields: fields(r.Header, "content-length", "transfer-encoding")}
		var body Body
		body.Reset(p.Framing, r.ContentLength, Limits{})
		persists, framing := p.Persists, p.Framing
		readBody(&m, &body, f, "502")
		if !persists && framing != FramedClose && m.End == "" {
			m.End = "end"
		}
		out = append(out, m)
		if r.Status >= 200 {
			return out
		}
	}
}

func text(list []http1test.Message) string {
	var b strings.Builder
	for _, m := range list {
		b.WriteString(m.String() + "\n")
	}
	return b.String()
}

// everySplit calls f for each way to cut n bytes in two, and for single bytes; what is long is cut only there where its
// ends are.
func everySplit(n int, f func(sizes []int, how string)) {
	f(nil, "whole")
	if n > 2<<10 {
		for _, at := range []int{1, n / 2, n - 1} {
			f([]int{at}, "cut at "+strconv.Itoa(at))
		}
		return
	}
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 1
	}
	f(sizes, "byte by byte")
	for at := 1; at < n; at++ {
		f([]int{at}, "cut at "+strconv.Itoa(at))
	}
}

func TestRequests(t *testing.T) {
	for _, c := range load(t, "requests") {
		t.Run(c.ID(), func(t *testing.T) {
			input, want := c.Bytes(), text(c.Want)
			everySplit(len(input), func(sizes []int, how string) {
				for _, fresh := range []bool{false, true} {
					if got := text(requests(input, c.HTTP10, sizes, fresh)); got != want {
						t.Fatalf("%s, moved: %v (RFC %s: %s)\n%.500q\ngot  %s\nwant %s", how, fresh, c.RFC, c.Why, input, got, want)
					}
				}
			})
		})
	}
}

func TestResponses(t *testing.T) {
	for _, c := range load(t, "answers") {
		t.Run(c.ID(), func(t *testing.T) {
			input, want := c.Bytes(), text(c.Want)
			everySplit(len(input), func(sizes []int, how string) {
				for _, fresh := range []bool{false, true} {
					if got := text(responses(input, c.Method, sizes, fresh)); got != want {
						t.Fatalf("%s, moved: %v (RFC %s: %s)\n%.500q\ngot  %s\nwant %s", how, fresh, c.RFC, c.Why, input, got, want)
					}
				}
			})
		})
	}
}
