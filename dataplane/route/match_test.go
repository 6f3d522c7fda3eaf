package route

import (
	"net/netip"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

func lines(values ...string) message.Header {
	var h message.Header
	for _, v := range values {
		h.Add("X", v)
	}
	return h
}

// Each row is what Envoy 1.40 was seen to do.
func TestHolds(t *testing.T) {
	exact := config.Text{Value: "a"}
	prefix := config.Text{Kind: config.TextPrefix, Value: "a"}
	suffix := config.Text{Kind: config.TextSuffix, Value: "a"}
	contains := config.Text{Kind: config.TextContains, Value: "a,b"}
	pattern := config.Text{Kind: config.TextRegex, Value: "a+", Regex: compiled("a+")}
	two := config.Text{Kind: config.TextRegex, Value: "b..", Regex: compiled("b..")}
	present, absent := config.Text{Kind: config.TextPresent}, config.Text{Kind: config.TextAbsent}
	for _, test := range []struct {
		name   string
		text   config.Text
		values message.Header
		// plain is what holds, inverted what does with Invert.
		plain, inverted bool
	}{
		{"exact", exact, lines("a"), true, false},
		{"exact, another", exact, lines("aa"), false, true},
		{"exact, missing", exact, nil, false, false},
		{"exact, empty", exact, lines(""), false, true},
		{"exact, one of two lines", exact, lines("b", "a"), true, false},
		{"exact, none of two lines", exact, lines("b", "c"), false, true},
		{"prefix", prefix, lines("ab"), true, false},
		{"prefix, another", prefix, lines("ba"), false, true},
		{"suffix", suffix, lines("ba"), true, false},
		{"suffix, another", suffix, lines("ab"), false, true},
		{"contains", contains, lines("xa,bx"), true, false},
		{"contains, over two lines", contains, lines("a", "b"), false, true},
		{"regex", pattern, lines("aaa"), true, false},
		{"regex, a part", pattern, lines("aab"), false, true},
		{"regex, missing", pattern, nil, false, false},
		{"regex, bytes are characters", two, lines("b\xc3\xa9"), true, false},
		{"regex, one byte", two, lines("b\xff"), false, true},
		{"present", present, lines(""), true, false},
		{"present, missing", present, nil, false, true},
		{"absent", absent, lines("a"), false, true},
		{"absent, missing", absent, nil, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			req := &message.Request{Method: "GET", Path: "/", Header: test.values}
			m := config.HeaderMatch{Name: "x", Text: test.text}
			if got := holds(&m, req); got != test.plain {
				t.Errorf("got %v, want %v", got, test.plain)
			}
			m.Invert = true
			if got := holds(&m, req); got != test.inverted {
				t.Errorf("inverted: got %v, want %v", got, test.inverted)
			}
		})
	}
}

// Each row is what Envoy 1.40 was seen to do.
func TestQueryValue(t *testing.T) {
	for _, test := range []struct {
		path, name, want string
		there            bool
	}{
		{"/?p=a", "p", "a", true},
		{"/?p=b&p=a", "p", "b", true},
		{"/?x&p=a", "p", "a", true},
		{"/?&p=a", "p", "a", true},
		{"/?p", "p", "", true},
		{"/?p=", "p", "", true},
		{"/?p=a=", "p", "a=", true},
		{"/?p=a;q=b", "p", "a;q=b", true},
		{"/?p=%61", "p", "%61", true},
		{"/?p=a+b", "p", "a+b", true},
		{"/?x=?&p=a", "p", "a", true},
		{"/?p%31=a", "p%31", "a", true},
		{"/?p%31=a", "p1", "", false},
		{"/??p=a", "p", "", false},
		{"/?P=a", "p", "", false},
		{"/?%70=a", "p", "", false},
		{"/?=p", "p", "", false},
		{"/p=a", "p", "", false},
		{"/", "p", "", false},
		{"/?", "", "", false},
	} {
		if got, there := QueryValue(test.path, test.name); got != test.want || there != test.there {
			t.Errorf("%s of %s: got %q, %v, want %q, %v", test.name, test.path, got, there, test.want, test.there)
		}
	}
}

// One draw for all: of rules with 10% and then 30% the second gets the 20% between.
func TestFractions(t *testing.T) {
	share := func(n uint32) config.Match {
		return config.Match{Path: "/", Fraction: &config.Fraction{Numerator: n, Denominator: 100}}
	}
	table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: []*config.Route{
		{Name: "none", Match: share(0)}, {Name: "a", Match: share(10)}, {Name: "b", Match: share(30)}, {Name: "rest", Match: config.Match{Path: "/"}},
	}}}})
	got := map[string]int{}
	for random := range uint64(1000) {
		got[table.Match(&message.Request{Path: "/"}, Given{Random: random}).Name]++
	}
	if got["none"] != 0 || got["a"] != 100 || got["b"] != 200 || got["rest"] != 700 {
		t.Errorf("got %v of 1000, want a 100, b 200, rest 700", got)
	}
}

// TestSources: without an address nothing is in a network.
func TestSources(t *testing.T) {
	table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: []*config.Route{
		{Name: "four", Match: config.Match{Path: "/", Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}}},
		{Name: "six", Match: config.Match{Path: "/", Sources: []netip.Prefix{netip.MustParsePrefix("::/0")}}},
		{Name: "rest", Match: config.Match{Path: "/"}},
	}}}})
	for source, want := range map[string]string{"10.1.2.3": "four", "192.0.2.1": "four", "192.0.2.2": "rest", "2001:db8::1": "six", "": "rest"} {
		given := Given{}
		if source != "" {
			given.Source = netip.MustParseAddr(source)
		}
		if got := table.Match(&message.Request{Path: "/"}, given).Name; got != want {
			t.Errorf("%s: got %s, want %s", source, got, want)
		}
		agree(t, table, &message.Request{Path: "/"}, given)
	}
}

// TestExplainReasons: each part of a match that fails is named.
func TestExplainReasons(t *testing.T) {
	req := &message.Request{Method: "GET", Path: "/x?q=1", Header: lines("a", "b")}
	for want, m := range map[string]config.Match{
		"path: got /x, want all of it to match /y+":                      {PathKind: config.PathRegex, PathRegex: compiled("/y+")},
		`header x: got "a,b", want one that begins with "c"`:             {Headers: []config.HeaderMatch{{Name: "x", Text: config.Text{Kind: config.TextPrefix, Value: "c"}}}},
		`header x: got "a,b", want one, and not "a"`:                     {Headers: []config.HeaderMatch{{Name: "x", Text: config.Text{Value: "a"}, Invert: true}}},
		`header x: got "a,b", want none`:                                 {Headers: []config.HeaderMatch{{Name: "x", Text: config.Text{Kind: config.TextAbsent}}}},
		"header y: got none, want some":                                  {Headers: []config.HeaderMatch{{Name: "y", Text: config.Text{Kind: config.TextPresent}}}},
		`query parameter q: got "1", want one with "2" in it`:            {Query: []config.QueryMatch{{Name: "q", Text: config.Text{Kind: config.TextContains, Value: "2"}}}},
		`query parameter r: got none, want one that ends with "2"`:       {Query: []config.QueryMatch{{Name: "r", Text: config.Text{Kind: config.TextSuffix, Value: "2"}}}},
		"header content-type: got none, want application/grpc, for gRPC": {GRPC: true},
		"source: got invalid IP, want one in 10.0.0.0/8":                 {Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		"fraction: it takes 12.5% of such requests, and not this one":    {Fraction: &config.Fraction{Numerator: 125_000, Denominator: 1_000_000}},
		`header x: got "a,b", want all of it to match c|d`:               {Headers: []config.HeaderMatch{{Name: "x", Text: config.Text{Kind: config.TextRegex, Value: "c|d", Regex: compiled("c|d")}}}},
	} {
		table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: []*config.Route{{Match: m}}}}})
		e := table.Explain(req, Given{Random: 999_999})
		if len(e.Steps) != 1 || e.Steps[0].Reason != want {
			t.Errorf("got %+v, want %s", e.Steps, want)
		}
	}
}

// TestFindWithConditionsDoesNotAllocate: whatever a rule asks for.
func TestFindWithConditionsDoesNotAllocate(t *testing.T) {
	routes := []*config.Route{
		{Match: config.Match{PathKind: config.PathRegex, Path: "/v", PathRegex: compiled("/v[0-9]+/[a-z]+/x")}},
		{Match: config.Match{Path: "/", Headers: []config.HeaderMatch{{Name: "x", Text: config.Text{Kind: config.TextRegex, Value: "a+b", Regex: compiled("a+b")}}}}},
		{Match: config.Match{Path: "/", Query: []config.QueryMatch{{Name: "q", Text: config.Text{Kind: config.TextSuffix, Value: "z"}}}}},
		{Match: config.Match{Path: "/", GRPC: true, Fraction: &config.Fraction{Numerator: 1, Denominator: 100}}},
		{Name: "rest", Match: config.Match{Path: "/"}},
	}
	table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: routes}}})
	req := &message.Request{Method: "POST", Path: "/v1/abc/y?p=1&q=2", Header: append(lines("aab!", "c"), message.Field{Name: "Content-Type", Value: "application/grpc"})}
	if n := testing.AllocsPerRun(100, func() {
		if table.Find(req, Given{Random: 50}).Name != "rest" {
			t.Error("another rule matches")
		}
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
