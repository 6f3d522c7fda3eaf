package http1

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// corpusCase is a case of testdata: an RFC and section, the bytes, and what they mean.
type corpusCase struct {
	name, rfc, method, input string
	want                     []string
}

func corpus(t testing.TB, file string) []corpusCase {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []corpusCase
	for _, f := range txtar.Parse(data).Files {
		c := corpusCase{name: f.Name}
		for line := range strings.Lines(string(f.Data)) {
			line = strings.TrimSuffix(line, "\n")
			key, value, _ := strings.Cut(line, ": ")
			switch {
			case strings.HasPrefix(line, `"`):
				s, err := strconv.Unquote(line)
				if err != nil {
					t.Fatalf("%s: %s: %v", f.Name, line, err)
				}
				c.input += s
			case key == "rfc":
				c.rfc = value
			case key == "method":
				c.method = value
			case key == "want":
				c.want = append(c.want, value)
			case line != "":
				t.Fatalf("%s: got the line %q, want rfc, method, want or quoted bytes", f.Name, line)
			}
		}
		if c.rfc == "" || len(c.want) == 0 {
			t.Fatalf("%s: rfc or want is missing", f.Name)
		}
		cases = append(cases, c)
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

func escape(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func describeFields(b *strings.Builder, h message.Header, skip ...string) {
	for _, f := range h {
		hidden := false
		for _, s := range skip {
			hidden = hidden || message.EqualName(f.Name, s)
		}
		if !hidden {
			fmt.Fprintf(b, " %s=%s", f.Name, f.Value)
		}
	}
}

// describeBody reads a body and says what it was; more tells that it is not whole.
func describeBody(b *strings.Builder, body *Body, f *feed, refusal string) (goOn bool) {
	var text []byte
	end := ""
	for !body.Done() {
		if len(f.bytes()) == 0 && !f.more() {
			end = " more"
			if body.Direct() < 0 {
				end = " end"
			}
			break
		}
		data, n, v := body.Parse(f.bytes())
		text = append(text, data...)
		f.used += n
		if v != nil {
			end = " " + refusal
			break
		}
		if len(data) > 0 {
			f.used += body.Skip(f.bytes())
		}
	}
	if len(text) > 0 {
		b.WriteString(" body=" + string(text))
	}
	for _, t := range body.Trailer {
		fmt.Fprintf(b, " trailer=%s:%s", t.Name, t.Value)
	}
	b.WriteString(end)
	return end == ""
}

// requests is what a connection's bytes mean, however they are cut.
func requests(data string, sizes []int, fresh bool) []string {
	f := &feed{data: []byte(data), sizes: sizes, fresh: fresh}
	p := NewRequestParser(Limits{HeaderBytes: 4096, HeaderCount: 20}, false, false, false)
	var out []string
	for {
		p.Reset()
		if f.used == len(f.data) && len(out) > 0 {
			return out
		}
		n := 0
		for n == 0 {
			if !f.more() && len(f.bytes()) == 0 {
				return append(out, "more")
			}
			got, failed := p.Parse(f.bytes())
			if failed != nil {
				return append(out, strconv.Itoa(failed.Status()))
			}
			if n = got; n == 0 && f.visible == len(f.data) {
				return append(out, "more")
			}
		}
		f.used += n
		var b strings.Builder
		r := &p.Request
		fmt.Fprintf(&b, "%s %s %s", r.Method, r.Authority, r.Path)
		describeFields(&b, r.Header, "content-length", "transfer-encoding")
		var body Body
		framing := FramedEmpty
		if p.Chunked {
			framing = FramedChunked
		} else if r.ContentLength > 0 {
			framing = FramedLength
		}
		body.Reset(framing, r.ContentLength, Limits{HeaderBytes: 4096, HeaderCount: 20})
		goOn := describeBody(&b, &body, f, "400")
		persists := p.Persists
		if !persists && r.Method != "CONNECT" {
			b.WriteString(" end")
		}
		out = append(out, escape(b.String()))
		if !goOn || !persists {
			return out
		}
	}
}

// responses is what an upstream's bytes mean, however they are cut.
func responses(data, method string, sizes []int, fresh bool) []string {
	f := &feed{data: []byte(data), sizes: sizes, fresh: fresh}
	p := NewResponseParser(Limits{HeaderBytes: 4096, HeaderCount: 20})
	var out []string
	for {
		p.Reset(method)
		n := 0
		for n == 0 {
			if !f.more() && len(f.bytes()) == 0 {
				return append(out, "more")
			}
			got, failed := p.Parse(f.bytes())
			if failed != nil {
				return append(out, strconv.Itoa(failed.Status()))
			}
			if n = got; n == 0 && f.visible == len(f.data) {
				return append(out, "more")
			}
		}
		f.used += n
		var b strings.Builder
		r := &p.Response
		b.WriteString(strconv.Itoa(r.Status))
		if r.Reason != "" {
			b.WriteString(" " + r.Reason)
		}
		describeFields(&b, r.Header, "content-length", "transfer-encoding")
		var body Body
		body.Reset(p.Framing, r.ContentLength, Limits{HeaderBytes: 4096, HeaderCount: 20})
		describeBody(&b, &body, f, "502")
		if !p.Persists && p.Framing != FramedClose {
			b.WriteString(" end")
		}
		out = append(out, escape(b.String()))
		if r.Status >= 200 {
			return out
		}
	}
}

func singles(n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 1
	}
	return sizes
}

func TestRequests(t *testing.T) {
	for _, c := range corpus(t, "requests.txtar") {
		t.Run(c.name, func(t *testing.T) {
			want := strings.Join(c.want, "\n")
			for how, got := range map[string][]string{
				"whole":                   requests(c.input, nil, false),
				"byte by byte":            requests(c.input, singles(len(c.input)), false),
				"byte by byte, and moved": requests(c.input, singles(len(c.input)), true),
			} {
				if got := strings.Join(got, "\n"); got != want {
					t.Errorf("%s (RFC %s)\n%q\ngot  %s\nwant %s", how, c.rfc, c.input, got, want)
				}
			}
		})
	}
}

func TestResponses(t *testing.T) {
	for _, c := range corpus(t, "responses.txtar") {
		t.Run(c.name, func(t *testing.T) {
			want := strings.Join(c.want, "\n")
			for how, got := range map[string][]string{
				"whole":                   responses(c.input, c.method, nil, false),
				"byte by byte, and moved": responses(c.input, c.method, singles(len(c.input)), true),
			} {
				if got := strings.Join(got, "\n"); got != want {
					t.Errorf("%s (RFC %s)\n%q\ngot  %s\nwant %s", how, c.rfc, c.input, got, want)
				}
			}
		})
	}
}

// fuzzLimit is in bytes: cutting costs their square, and what is longer says nothing new.
const fuzzLimit = 6 << 10

func cuts(seed []byte) []int {
	sizes := make([]int, len(seed))
	for i, b := range seed {
		sizes[i] = int(b)
	}
	return sizes
}

// However the bytes are cut, they mean the same; and what is accepted can be serialized and means the same again.
func FuzzRequest(f *testing.F) {
	for _, c := range corpus(f, "requests.txtar") {
		f.Add(c.input, []byte{1, 7, 30})
	}
	f.Fuzz(func(t *testing.T, input string, seed []byte) {
		if len(input) > fuzzLimit {
			return
		}
		whole := strings.Join(requests(input, nil, false), "\n")
		if cut := strings.Join(requests(input, cuts(seed), true), "\n"); cut != whole {
			t.Fatalf("%q cut as %v\ngot  %s\nwant %s", input, seed, cut, whole)
		}
		p := NewRequestParser(Limits{}, false, true, false)
		if n, why := p.Parse([]byte(input)); n == 0 || why != nil || p.Request.Method == "CONNECT" {
			return
		}
		req := p.Request
		var w writer
		if err := w.requestHead(&req, req.ContentLength == 0); err != nil {
			t.Fatalf("%q was read but cannot be written: %v", input, err)
		}
		again := NewRequestParser(Limits{}, false, true, false)
		n, why := again.Parse(w.buf)
		if why != nil || n != len(w.buf) {
			t.Fatalf("%q was written as %q, which is not read: %v", input, w.buf, why)
		}
		a, b := &p.Request, &again.Request
		if a.Method != b.Method || a.Path != b.Path || a.Authority != b.Authority || a.ContentLength != b.ContentLength {
			t.Fatalf("%q was written as %q, which means something else", input, w.buf)
		}
	})
}

func FuzzResponse(f *testing.F) {
	for _, c := range corpus(f, "responses.txtar") {
		f.Add(c.input, c.method, []byte{1, 7, 30})
	}
	f.Fuzz(func(t *testing.T, input, method string, seed []byte) {
		if len(input) > fuzzLimit {
			return
		}
		whole := strings.Join(responses(input, method, nil, false), "\n")
		if cut := strings.Join(responses(input, method, cuts(seed), true), "\n"); cut != whole {
			t.Fatalf("%q cut as %v\ngot  %s\nwant %s", input, seed, cut, whole)
		}
	})
}

func FuzzChunked(f *testing.F) {
	for _, c := range corpus(f, "requests.txtar") {
		if _, body, ok := strings.Cut(c.input, "\r\n\r\n"); ok && strings.HasPrefix(c.name, "chunk-") {
			f.Add(body, []byte{1, 7, 30})
		}
	}
	f.Fuzz(func(t *testing.T, input string, seed []byte) {
		if len(input) > fuzzLimit {
			return
		}
		run := func(sizes []int) string {
			var b strings.Builder
			var body Body
			body.Reset(FramedChunked, -1, Limits{})
			in := &feed{data: []byte(input), sizes: sizes}
			describeBody(&b, &body, in, "400")
			return fmt.Sprintf("%s, %d bytes", b.String(), in.used)
		}
		whole := run(nil)
		if cut := run(cuts(seed)); cut != whole {
			t.Fatalf("%q cut as %v\ngot  %s\nwant %s", input, seed, cut, whole)
		}
	})
}
