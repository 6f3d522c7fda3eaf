package harness

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Outcome is what came of an exchange at one proxy: what the client saw, and what the upstreams saw. Ports are
// replaced by their names and UUIDs by <uuid>, so that the outcomes of two proxies can be compared.
type Outcome struct {
	Answers []*Answer
	Seen    []*Seen
	// Served counts the requests by upstream.
	Served map[string]int
}

// Await plays an exchange; one with until again and again, until its outcome is as expected.
func (s *Stage) Await(tb testing.TB, e *Exchange, kind string) *Outcome {
	tb.Helper()
	deadline := time.Now().Add(awaitTime)
	for {
		o := s.Play(tb, e)
		if !e.Until || len(o.Check(e, kind)) == 0 || time.Now().After(deadline) {
			return o
		}
		time.Sleep(awaitEvery)
	}
}

// awaitTime is how long Await goes on, and awaitEvery how often it tries.
const (
	awaitTime  = 20 * time.Second
	awaitEvery = 20 * time.Millisecond
)

// Play sends an exchange's requests, one after the other.
func (s *Stage) Play(tb testing.TB, e *Exchange) *Outcome {
	tb.Helper()
	if e.Request.Proto == "DNS" {
		s.Server.Set(tb, e.Names...)
		return &Outcome{Served: map[string]int{}}
	}
	r := e.Request
	r.Addr = s.Addr(tb, e.At, e.Port)
	r.Authority = s.numbers(r.Authority)
	if r.Cert != "" {
		r.Certificate = s.signers.pair(tb, r.Cert)
	}
	for _, u := range s.Upstreams {
		u.Take()
	}
	s.tries.Store(0)
	o := &Outcome{Served: map[string]int{}}
	for range e.Times {
		o.Answers = append(o.Answers, Do(&r, e.Expect.looksAt(":closed") || e.Expect.looksAt(":rest")))
	}
	s.awaitCopies(e)
	for _, name := range slices.Sorted(maps.Keys(s.Upstreams)) {
		u := s.Upstreams[name]
		for _, seen := range u.Take() {
			// The upstream may still be at it.
			u.update(func() {
				copied := *seen
				copied.Header, copied.Trailer = slices.Clone(seen.Header), slices.Clone(seen.Trailer)
				seen = &copied
			})
			o.Seen = append(o.Seen, seen)
			o.Served[seen.Upstream]++
		}
	}
	for _, a := range o.Answers {
		s.maskFields(a.Header)
		s.maskFields(a.Trailer)
	}
	for _, seen := range o.Seen {
		seen.Authority, seen.Proxy = s.mask(seen.Authority), s.mask(seen.Proxy)
		maskPeer(seen.Header)
		s.maskFields(seen.Header)
		s.maskFields(seen.Trailer)
	}
	return o
}

var (
	uuidPattern = regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)
	portPattern = regexp.MustCompile(`:[0-9]{5}\b`)
	namePattern = regexp.MustCompile(`:[a-z][a-z0-9-]*$`)
)

// numbers puts a port's number for its name; a unix socket has none.
func (s *Stage) numbers(authority string) string {
	return namePattern.ReplaceAllStringFunc(authority, func(name string) string {
		if n := s.Ports[name[1:]]; n != 0 {
			return ":" + strconv.Itoa(n)
		}
		if s.Sockets[name[1:]] != "" {
			return ""
		}
		return name
	})
}

func (s *Stage) mask(value string) string {
	value = uuidPattern.ReplaceAllString(value, "<uuid>")
	value = s.signers.mask(value)
	return portPattern.ReplaceAllStringFunc(value, func(port string) string {
		for name, n := range s.Ports {
			if port == ":"+strconv.Itoa(n) {
				return ":" + name
			}
		}
		return port
	})
}

func (s *Stage) maskFields(fields []Field) {
	for i := range fields {
		fields[i].Value = s.mask(fields[i].Value)
	}
}

// maskPeer puts <peer> for the last address of X-Forwarded-For, if it is this machine's: for a client on loopback Envoy
// names the machine's own address, and the Go proxy the loopback address.
func maskPeer(fields []Field) {
	addrs, _ := net.InterfaceAddrs()
	for i, f := range fields {
		if !strings.EqualFold(f.Name, "x-forwarded-for") {
			continue
		}
		at := strings.LastIndexByte(f.Value, ',') + 1
		last := strings.TrimSpace(f.Value[at:])
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.String() == last {
				fields[i].Value = f.Value[:at] + "<peer>"
			}
		}
	}
}

// Check tells where an outcome of a kind of proxy is not what was expected; nil is all well.
func (o *Outcome) Check(e *Exchange, kind string) []string {
	expect := &e.Expect
	if e.Envoy != nil && kind == Envoy {
		expect = e.Envoy
	}
	var wrong []string
	report := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, a := range o.Answers {
		switch {
		case expect.Refused:
			if a.Refused == "" {
				report("client: got status %d, want a refusal", a.Status)
			}
			continue
		case a.Refused != "":
			report("client: got %s, want status %d", a.Refused, expect.Status)
			continue
		case a.Status != expect.Status:
			report("client: got status %d %s %v, want %d", a.Status, clip(a.Body), a.Header, expect.Status)
			continue
		}
		wrong = append(wrong, check("client", expect.Client, a.value, a.Trailer, a.Body)...)
	}
	want := map[string]bool{}
	for _, share := range expect.Served {
		want[share.Upstream] = true
		got := o.Served[share.Upstream]
		if share.Count >= 0 && got != share.Count {
			report("upstream %s: got %d requests, want %d", share.Upstream, got, share.Count)
		}
		if percent := 100 * float64(got) / float64(e.Times); share.Count < 0 && share.Percent >= 0 && abs(percent-float64(share.Percent)) > sharePoints {
			report("upstream %s: got %.1f%% of the requests, want %d%%", share.Upstream, percent, share.Percent)
		}
	}
	for name, n := range o.Served {
		if !want[name] {
			report("upstream %s: got %d requests, want none", name, n)
		}
	}
	for _, s := range o.Seen {
		if s.Broken != "" && expect.Status < 400 && !expect.Refused {
			report("upstream %s: the request that it got breaks HTTP: %s", s.Upstream, s.Broken)
		}
		wrong = append(wrong, check("upstream "+s.Upstream, expect.Upstream, s.value, s.Trailer, s.Body)...)
	}
	return wrong
}

func abs(x float64) float64 { return max(x, -x) }

func (a *Answer) value(name string) string {
	switch name {
	case ":proto":
		return a.Proto
	case ":certificate":
		return a.Certificate
	case ":closed":
		return strconv.FormatBool(a.Closed)
	case ":rest":
		return a.Rest
	case ":interim":
		return strings.Trim(fmt.Sprint(a.Interim), "[]")
	case ":size":
		return strconv.Itoa(len(a.Body))
	case ":broken":
		return strconv.FormatBool(a.Broken != "")
	}
	return a.Get(name)
}

func (s *Seen) value(name string) string {
	switch name {
	case ":proto":
		return s.Proto
	case ":proxy":
		return s.Proxy
	case ":sni":
		return s.SNI
	case ":alpn":
		return s.ALPN
	case ":client":
		return s.Client
	case ":method":
		return s.Method
	case ":path":
		return s.Path
	case ":authority":
		return s.Authority
	case ":size":
		return strconv.Itoa(len(s.Body))
	}
	return s.Get(name)
}

func check(who string, lines []Line, value func(string) string, trailer []Field, body []byte) []string {
	var wrong []string
	var text []string
	for _, l := range lines {
		if l.Name == "|" {
			text = append(text, l.Value)
			continue
		}
		got, name := value(l.Name), l.Name
		if l.Trailer {
			got, name = joined(trailer, l.Name), "trailer "+l.Name
		}
		if !fits(got, l.Value) {
			wrong = append(wrong, fmt.Sprintf("%s: %s: got %q, want %q", who, name, got, l.Value))
		}
	}
	if want := strings.Join(text, "\n"); text != nil && strings.TrimRight(string(body), "\n") != want {
		wrong = append(wrong, fmt.Sprintf("%s: body: got %s, want %q", who, clip(body), want))
	}
	return wrong
}

// fits compares with a value, "-" (not there) or "re: a pattern".
func fits(got, want string) bool {
	if want == "-" {
		return got == ""
	}
	if pattern, ok := strings.CutPrefix(want, "re: "); ok {
		return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString(got)
	}
	return got == want
}

func clip(body []byte) string {
	if len(body) > 200 {
		return fmt.Sprintf("%q… (%d bytes)", body[:200], len(body))
	}
	return fmt.Sprintf("%q", body)
}

// Compare tells where two outcomes of one exchange differ, beyond what was expected of each: every header of the
// answer, and of the request as the upstream saw it. Left out are:
//   - date;
//   - that for which the scenario says "=> envoy", with the reason above it;
//   - the text of an answer that the proxy made itself, with its content-type and content-length: Sluice promises its
//     status, not Envoy's words; and whether the connection goes on after it;
//   - transfer-encoding in an answer to HEAD, which Envoy writes where the length is not known (RFC 9112, 6.1, allows both);
//   - the order of differing headers, and the case of their names (Envoy writes lower case) and of Connection's options;
//   - of requests sent several times, all but the status and who served how many.
func Compare(e *Exchange, nameA string, a *Outcome, nameB string, b *Outcome) []string {
	if e.Envoy != nil {
		return nil
	}
	var wrong []string
	differ := func(what string, va, vb any) {
		wrong = append(wrong, fmt.Sprintf("%s: %s %v, %s %v", what, nameA, va, nameB, vb))
	}
	for i := range a.Answers {
		x, y := a.Answers[i], b.Answers[i]
		if x.Status != y.Status || (x.Refused == "") != (y.Refused == "") {
			differ("status", fmt.Sprint(x.Status, x.Refused), fmt.Sprint(y.Status, y.Refused))
			continue
		}
		if x.Proto != y.Proto || x.Certificate != y.Certificate || x.Closed != y.Closed {
			differ("protocol, certificate, closed", fmt.Sprint(x.Proto, x.Certificate, x.Closed), fmt.Sprint(y.Proto, y.Certificate, y.Closed))
		}
		if fmt.Sprint(x.Interim) != fmt.Sprint(y.Interim) {
			differ("interim answers", x.Interim, y.Interim)
		}
		if e.Times > 1 {
			continue
		}
		own := x.Get("x-echo") == "" && y.Get("x-echo") == ""
		var leave []string
		if own {
			leave = append(leave, "content-type", "content-length", "connection")
		}
		if e.Request.Method == "HEAD" {
			leave = append(leave, "transfer-encoding")
		}
		wrong = append(wrong, compareFields("answer", nameA, x.Header, nameB, y.Header, leave...)...)
		wrong = append(wrong, compareFields("answer's trailer", nameA, x.Trailer, nameB, y.Trailer)...)
		if !own && !bytes.Equal(x.Body, y.Body) {
			differ("answer's body", clip(x.Body), clip(y.Body))
		}
	}
	if e.Times > 1 || slices.ContainsFunc(e.Expect.Served, func(s Share) bool { return s.Count < 0 && s.Percent < 0 }) {
		return wrong
	}
	if len(a.Seen) != len(b.Seen) {
		differ("requests that upstreams saw", len(a.Seen), len(b.Seen))
		return wrong
	}
	for i := range a.Seen {
		x, y := a.Seen[i], b.Seen[i]
		for _, name := range []string{":proto", ":method", ":path", ":authority", ":sni", ":alpn", ":client"} {
			if x.value(name) != y.value(name) {
				differ("upstream saw "+name, x.value(name), y.value(name))
			}
		}
		wrong = append(wrong, compareFields("upstream saw", nameA, x.Header, nameB, y.Header)...)
		wrong = append(wrong, compareFields("upstream saw trailer", nameA, x.Trailer, nameB, y.Trailer)...)
		if !bytes.Equal(x.Body, y.Body) {
			differ("upstream saw body", clip(x.Body), clip(y.Body))
		}
	}
	return wrong
}

func compareFields(what, nameA string, a []Field, nameB string, b []Field, leave ...string) []string {
	names := map[string]bool{}
	for _, f := range append(append([]Field(nil), a...), b...) {
		name := strings.ToLower(f.Name)
		if !slices.Contains(leave, name) {
			names[name] = true
		}
	}
	var wrong []string
	for name := range names {
		if x, y := joined(a, name), joined(b, name); x != y && (name != "connection" || !strings.EqualFold(x, y)) {
			wrong = append(wrong, fmt.Sprintf("%s: %s: %s %q, %s %q", what, name, nameA, x, nameB, y))
		}
	}
	sort.Strings(wrong)
	return wrong
}
