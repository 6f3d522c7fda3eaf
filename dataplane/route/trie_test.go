package route

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// agree fails unless Find and Explain, which asks one rule after another, give the same route.
func agree(t *testing.T, table *Table, req *message.Request, given Given) {
	t.Helper()
	want, got := table.Explain(req, given).Route, table.Match(req, given)
	if got != want {
		t.Fatalf("%s %s %v: Match gives %s, one after another %s", req.Method, req.Path, req.Header, describe(got), describe(want))
	}
}

func describe(r *config.Route) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%s %+v", r.Name, r.Match)
}

// fuzzBytes reads choices out of what the fuzzer gives; at the end all are 0.
type fuzzBytes struct{ data []byte }

func (f *fuzzBytes) n(limit int) int {
	if len(f.data) == 0 {
		return 0
	}
	b := int(f.data[0])
	f.data = f.data[1:]
	return b % limit
}

// of is one of the words; few and alike, so that paths nest and rules meet.
func (f *fuzzBytes) of(words ...string) string { return words[f.n(len(words))] }

func (f *fuzzBytes) path() string {
	var b strings.Builder
	for range f.n(6) {
		b.WriteString(f.of("/", "a", "b", "/a", "/ab", "/b", "ab", "//", "\xff"))
	}
	return b.String()
}

func (f *fuzzBytes) line() (name, value string) {
	return f.of("x", "y", ":method", ":path", ":authority", "host", ":scheme", "x-long"), f.of("1", "2", "", "GET", "POST", "/a", "h", "http")
}

func (f *fuzzBytes) routes() []*config.Route {
	routes := make([]*config.Route, f.n(60))
	// Many rules of few paths and kinds, or few of many; those without headers, which hide others, are seldom or often.
	paths := make([]string, 1+f.n(12))
	kinds, plain := 1+f.n(3), 1+f.n(30)
	for i := range paths {
		paths[i] = f.path()
	}
	for i := range routes {
		r := &config.Route{Name: fmt.Sprint(i)}
		r.Match.PathKind = config.PathKind(f.n(kinds))
		r.Match.Path = paths[f.n(len(paths))]
		for range min(f.n(plain), 1) * (1 + f.n(3)) {
			f.condition(&r.Match)
		}
		routes[i] = r
	}
	return routes
}

// condition adds something to a match; exact headers more often than the rest.
func (f *fuzzBytes) condition(m *config.Match) {
	name, value := f.line()
	switch f.n(13) {
	case 12:
		m.Sources = []netip.Prefix{netip.MustParsePrefix(f.of("10.0.0.0/8", "::/0", "0.0.0.0/0"))}
	case 0:
		m.Headers = append(m.Headers, config.HeaderMatch{Name: name, Text: f.text(value), Invert: f.n(3) == 1})
	case 1:
		m.Query = append(m.Query, config.QueryMatch{Name: f.of("a", "b"), Text: f.text(value)})
	case 2:
		m.GRPC = true
	case 3:
		m.Fraction = &config.Fraction{Numerator: uint32(f.n(101)), Denominator: 100}
	case 4:
		text := f.of("/a", "/a.*", "(/a|/b).*", ".*b", "[^/]*")
		m.PathKind, m.PathRegex = config.PathRegex, compiled(text)
		m.Path = map[string]string{"/a": "/a", "/a.*": "/a", "(/a|/b).*": "/"}[text]
	default:
		m.Headers = append(m.Headers, config.HeaderMatch{Name: name, Text: config.Text{Value: value}})
	}
}

func (f *fuzzBytes) text(value string) config.Text {
	t := config.Text{Kind: config.TextKind(f.n(7)), Value: value}
	if t.Kind == config.TextRegex {
		t.Value = f.of("1|2", ".*", "[A-Z]+")
		t.Regex = compiled(t.Value)
	}
	return t
}

func compiled(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`\A(?:` + pattern + `)\z`)
}

func (f *fuzzBytes) request() *message.Request {
	req := &message.Request{Method: f.of("GET", "POST"), Scheme: f.of("http", "https"), Authority: f.of("h", "", "H")}
	req.Path = f.path() + f.of("", "?", "?/a", "?a=1&b", "?b=2&a=&a=1")
	if f.n(3) == 1 {
		req.Header.Add("content-type", f.of("application/grpc", "application/grpc+x", "application/grpc-web"))
	}
	for range f.n(5) {
		name, value := f.line()
		if f.n(2) == 1 {
			name = strings.ToUpper(name)
		}
		req.Header.Add(name, value)
	}
	return req
}

// FuzzMatch makes tables and requests of any bytes: the first match is the same as that of a walk from rule to rule.
func FuzzMatch(f *testing.F) {
	f.Add([]byte("a table and some requests"))
	f.Add([]byte(strings.Repeat("\x3b\x01\x02\x00\x07", 100)))
	// So that a run without fuzzing sees many tables too.
	chance := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		data := make([]byte, 1000)
		for i := range data {
			data[i] = byte(chance.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := &fuzzBytes{data}
		table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: in.routes()}}})
		for range 16 {
			agree(t, table, in.request(), Given{Random: uint64(in.n(100)), Source: netip.MustParseAddr(in.of("10.0.0.1", "::1", "192.0.2.1"))})
		}
	})
}

// TestRulesThatShareAPath: many rules of one path that differ by a line are found as the walk finds them.
func TestRulesThatShareAPath(t *testing.T) {
	const n = 2000
	for name, headers := range map[string]func(i int) []config.HeaderMatch{
		"one value each": func(i int) []config.HeaderMatch {
			return []config.HeaderMatch{{Name: "x-tenant", Text: config.Text{Value: fmt.Sprint(i)}}}
		},
		"one name each": func(i int) []config.HeaderMatch {
			return []config.HeaderMatch{{Name: fmt.Sprint("x-tenant-", i), Text: config.Text{Value: "1"}}}
		},
		"one method each": func(i int) []config.HeaderMatch {
			return []config.HeaderMatch{{Name: ":method", Text: config.Text{Value: fmt.Sprint("M", i)}}}
		},
		"all GET, one value each": func(i int) []config.HeaderMatch {
			return []config.HeaderMatch{{Name: ":method", Text: config.Text{Value: "GET"}}, {Name: "x-tenant", Text: config.Text{Value: fmt.Sprint(i)}}}
		},
		"a value for each hundred": func(i int) []config.HeaderMatch {
			return []config.HeaderMatch{{Name: "x-tenant", Text: config.Text{Value: fmt.Sprint(i / 100)}}, {Name: "x-shard", Text: config.Text{Value: fmt.Sprint(i % 100)}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var routes []*config.Route
			for i := range n {
				routes = append(routes, &config.Route{Name: fmt.Sprint(i), Match: config.Match{Path: "/", Headers: headers(i)}})
			}
			routes = append(routes, &config.Route{Name: "rest", Match: config.Match{Path: "/"}})
			table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: routes}}})
			for _, i := range []int{0, 1, 99, 100, 1234, n - 1} {
				req := &message.Request{Method: "GET", Path: "/x"}
				for _, h := range headers(i) {
					if h.Name == ":method" {
						req.Method = h.Value
					} else {
						req.Header.Add(strings.ToUpper(h.Name), h.Value)
					}
				}
				agree(t, table, req, Given{})
				if got := table.Match(req, Given{}).Name; got != fmt.Sprint(i) {
					t.Errorf("request for %d: got %s", i, got)
				}
			}
			req := &message.Request{Method: "GET", Path: "/x", Header: message.Header{{Name: "x-tenant", Value: "none"}}}
			if got := table.Match(req, Given{}).Name; got != "rest" {
				t.Errorf("request for none of them: got %s, want rest", got)
			}
		})
	}
}

// TestRulesUnderOneLine: where many rules share a path they stand under exact lines; what else they ask for still counts.
func TestRulesUnderOneLine(t *testing.T) {
	line := config.HeaderMatch{Name: "x", Text: config.Text{Value: "1"}}
	for name, first := range map[string]config.Match{
		"query":    {Headers: []config.HeaderMatch{line}, Query: []config.QueryMatch{{Name: "q", Text: config.Text{Value: "1"}}}},
		"grpc":     {Headers: []config.HeaderMatch{line}, GRPC: true},
		"source":   {Headers: []config.HeaderMatch{line}, Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"fraction": {Headers: []config.HeaderMatch{line}, Fraction: &config.Fraction{Numerator: 1, Denominator: 2}},
		"inverted": {Headers: []config.HeaderMatch{{Name: "x", Text: config.Text{Value: "2"}, Invert: true}, {Name: "q", Text: config.Text{Value: "1"}}}},
		"prefix":   {Headers: []config.HeaderMatch{{Name: "x", Text: config.Text{Kind: config.TextPrefix, Value: "1x"}}}},
		"regex":    {PathKind: config.PathRegex, PathRegex: compiled("/q"), Headers: []config.HeaderMatch{line}},
	} {
		t.Run(name, func(t *testing.T) {
			first.Path = "/"
			routes := []*config.Route{{Name: "first", Match: first}, {Name: "second", Match: config.Match{Path: "/", Headers: []config.HeaderMatch{line}}}}
			for i := range scanned {
				routes = append(routes, &config.Route{Name: "more", Match: config.Match{Path: "/", Headers: []config.HeaderMatch{{Name: "y", Text: config.Text{Value: fmt.Sprint(i)}}}}})
			}
			table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: routes}}})
			req := &message.Request{Method: "GET", Path: "/", Header: message.Header{{Name: "X", Value: "1"}}}
			if got := table.Match(req, Given{Random: 1}).Name; got != "second" {
				t.Errorf("got %s, want second", got)
			}
			req = &message.Request{Method: "GET", Path: "/q?q=1", Header: message.Header{{Name: "X", Value: "1"}, {Name: "q", Value: "1"}, {Name: "x", Value: "1x"}, {Name: "content-type", Value: "application/grpc"}}}
			if got := table.Match(req, Given{Source: netip.MustParseAddr("10.0.0.1")}).Name; got != "first" {
				t.Errorf("with all that it asks for: got %s, want first", got)
			}
		})
	}
}

// benchTable has n rules of different paths, in groups as an API has them.
func benchTable(n int) *config.RouteTable {
	routes := make([]*config.Route, n)
	for i := range routes {
		routes[i] = &config.Route{Name: "r", Match: config.Match{PathKind: config.PathSeparatedPrefix, Path: benchPath(i)},
			Clusters: []config.WeightedCluster{{Name: "c", Weight: 1}}}
	}
	return &config.RouteTable{Hosts: []*config.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: routes}}}
}

func benchPath(i int) string { return fmt.Sprintf("/api/v%d/team-%d/service-%d", i%3, i/100, i) }

func TestFindDoesNotAllocate(t *testing.T) {
	cfg := benchTable(1000)
	for i := range 1000 {
		cfg.Hosts[0].Routes = append(cfg.Hosts[0].Routes, &config.Route{
			Match:    config.Match{Path: "/", Headers: []config.HeaderMatch{{Name: "x-tenant", Text: config.Text{Value: fmt.Sprint(i)}}}},
			Clusters: []config.WeightedCluster{{Name: "a", Weight: 1}, {Name: "b", Weight: 2}},
		})
	}
	table := New(cfg)
	requests := []*message.Request{
		{Authority: "Shop.Example.com:8443", Path: benchPath(999) + "/x?y"},
		{Authority: "a.test", Path: "/", Header: message.Header{{Name: "Accept", Value: "*/*"}, {Name: "X-TENANT", Value: "999"}}},
		{Authority: "a.test", Path: "/", Header: message.Header{{Name: "X-TENANT", Value: "none"}}},
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, req := range requests {
			if r := table.Find(req, Given{}); r != nil {
				r.Cluster(12345)
			}
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000, 100_000} {
		table := New(benchTable(n))
		miss := &message.Request{Method: "GET", Authority: "a.test", Path: "/api/v1/nobody/x?y=1"}
		last := &message.Request{Method: "GET", Authority: "a.test", Path: benchPath(n-1) + "/x?y=1"}
		mix := make([]*message.Request, 1024)
		for i := range mix {
			mix[i] = &message.Request{Method: "GET", Authority: "a.test", Path: benchPath(i*7919%n) + "/x?y=1"}
		}
		for name, requests := range map[string][]*message.Request{"last": {last}, "miss": {miss}, "mix": mix} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if r := table.Find(requests[i%len(requests)], Given{}); (r == nil) != (name == "miss") {
						b.Fatal(r)
					}
				}
			})
		}
	}
}

// BenchmarkFindByHeader has n rules of one path that differ by a header.
func BenchmarkFindByHeader(b *testing.B) {
	for _, n := range []int{8, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			routes := make([]*config.Route, n)
			for i := range routes {
				routes[i] = &config.Route{Match: config.Match{Path: "/", Headers: []config.HeaderMatch{{Name: "x-tenant", Text: config.Text{Value: fmt.Sprint(i)}}}}}
			}
			table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: routes}}})
			req := &message.Request{Method: "GET", Authority: "a.test", Path: "/x", Header: message.Header{
				{Name: "User-Agent", Value: "lean/1.0"}, {Name: "Accept", Value: "*/*"}, {Name: "Accept-Encoding", Value: "gzip"},
				{Name: "Cookie", Value: "a=b"}, {Name: "X-Tenant", Value: fmt.Sprint(n - 1)},
			}}
			b.ReportAllocs()
			for b.Loop() {
				if table.Find(req, Given{}) == nil {
					b.Fatal("no route")
				}
			}
		})
	}
}

func BenchmarkNew(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cfg := benchTable(n)
			b.ReportAllocs()
			for b.Loop() {
				New(cfg)
			}
		})
	}
}
