package route

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

func hostTable(domains ...string) *config.RouteTable {
	t := &config.RouteTable{Name: "t", IgnorePort: true}
	for _, d := range domains {
		t.Hosts = append(t.Hosts, &config.VirtualHost{Name: d, Domains: []string{d}, Routes: []*config.Route{{Name: d, Match: config.Match{Path: "/"}}}})
	}
	return t
}

func TestHostMostSpecificWins(t *testing.T) {
	table := New(hostTable("shop.example.com", "*.example.com", "*.a.example.com", "api.*", "*"))
	for authority, want := range map[string]string{
		"shop.example.com":      "shop.example.com",
		"SHOP.Example.com:8443": "shop.example.com",
		"x.example.com":         "*.example.com",
		"x.y.example.com":       "*.example.com",
		"x.a.example.com":       "*.a.example.com",
		"a.example.com":         "*.example.com",
		"example.com":           "*",
		".example.com":          "*",
		"api.org":               "api.*",
		"api.":                  "*",
		"[::1]:8080":            "*",
		"":                      "*",
	} {
		if got := table.Host(authority); got == nil || got.Name != want {
			t.Errorf("Host(%q) = %v, want %s", authority, got, want)
		}
	}
	none := New(hostTable("a.example.com"))
	if got := none.Match(&message.Request{Authority: "b.example.com", Path: "/"}, Given{}); got != nil {
		t.Errorf("unknown host: got %s, want none", got.Name)
	}
	if got := New(nil).Match(&message.Request{Authority: "x", Path: "/"}, Given{}); got != nil {
		t.Errorf("no table: got %s, want none", got.Name)
	}
}

func TestPortCountsUnlessIgnored(t *testing.T) {
	cfg := hostTable("a.example.com")
	cfg.IgnorePort = false
	if got := New(cfg).Host("a.example.com:80"); got != nil {
		t.Errorf("with a port: got %s, want none", got.Name)
	}
}

func TestMatch(t *testing.T) {
	header := func(name, value string) []config.HeaderMatch {
		return []config.HeaderMatch{{Name: name, Text: config.Text{Value: value}}}
	}
	table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "*", Domains: []string{"*"}, Routes: []*config.Route{
		{Name: "exact", Match: config.Match{PathKind: config.PathExact, Path: "/exact"}},
		{Name: "beta", Match: config.Match{PathKind: config.PathSeparatedPrefix, Path: "/api", Headers: header("x-beta", "1,2")}},
		{Name: "post", Match: config.Match{PathKind: config.PathSeparatedPrefix, Path: "/api", Headers: header(":method", "POST")}},
		{Name: "api", Match: config.Match{PathKind: config.PathSeparatedPrefix, Path: "/api"}},
		{Name: "raw", Match: config.Match{Path: "/raw"}},
	}}}})
	beta := message.Header{{Name: "X-Beta", Value: "2"}, {Name: "x-beta", Value: "1,2"}}
	for _, c := range []struct {
		method, path string
		header       message.Header
		want         string
	}{
		{"GET", "/exact", nil, "exact"},
		{"GET", "/exact?q=1", nil, "exact"},
		{"GET", "/exact/", nil, ""},
		{"GET", "/api", nil, "api"},
		{"GET", "/api?x", nil, "api"},
		{"GET", "/api/x", nil, "api"},
		{"GET", "/apix", nil, ""},
		{"POST", "/api/x", nil, "post"},
		{"POST", "/api/x", beta, "beta"},
		{"GET", "/api", message.Header{{Name: "x-beta", Value: "1"}}, "api"},
		{"GET", "/rawest", nil, "raw"},
		{"GET", "/", nil, ""},
		{"OPTIONS", "*", nil, ""},
	} {
		req := &message.Request{Method: c.method, Path: c.path, Authority: "a", Header: c.header}
		got := ""
		if r := table.Match(req, Given{}); r != nil {
			got = r.Name
		}
		if got != c.want {
			t.Errorf("%s %s %v: got %q, want %q", c.method, c.path, c.header, got, c.want)
		}
		explained := ""
		if e := table.Explain(req, Given{}); e.Route != nil {
			explained = e.Route.Name
		}
		if explained != got {
			t.Errorf("%s %s: Explain says %q, Match says %q", c.method, c.path, explained, got)
		}
	}
	steps := table.Explain(&message.Request{Method: "GET", Path: "/api", Authority: "a"}, Given{}).Steps
	for i, want := range []string{
		"path: got /api, want exactly /exact",
		`header x-beta: got none, want "1,2"`,
		`method: got "GET", want "POST"`,
		"",
	} {
		if steps[i].Reason != want {
			t.Errorf("step %d: got %q, want %q", i, steps[i].Reason, want)
		}
	}
}

// walk chooses as Envoy does: it walks along the weights.
func walk(clusters []config.WeightedCluster, random uint64) string {
	if len(clusters) == 1 {
		return clusters[0].Name
	}
	var total uint64
	for i := range clusters {
		total += uint64(clusters[i].Weight)
	}
	if total == 0 {
		return ""
	}
	at := random % total
	for i := range clusters {
		if at < uint64(clusters[i].Weight) {
			return clusters[i].Name
		}
		at -= uint64(clusters[i].Weight)
	}
	return ""
}

func TestPick(t *testing.T) {
	clusters := []config.WeightedCluster{{Name: "a", Weight: 90}, {Name: "none", Weight: 0}, {Name: "b", Weight: 10}}
	counts := map[string]int{}
	const n = 100_000
	for range n {
		counts[walk(clusters, rand.Uint64())]++
	}
	if got := float64(counts["a"]) / n; math.Abs(got-0.9) > 0.005 || counts["none"] > 0 {
		t.Errorf("weights 90, 0, 10: got %v of %d", counts, n)
	}
	if got := walk(clusters[1:2], 5); got != "none" {
		t.Errorf("one cluster: got %q, want it whatever its weight", got)
	}
}

// A Split chooses what walk chooses of the same number; a rule chooses the same cluster by
// its index.
func TestSplit(t *testing.T) {
	for _, clusters := range [][]config.WeightedCluster{
		{{Name: "a", Weight: 1}},
		{{Name: "a", Weight: 0}},
		{{Name: "a", Weight: 90}, {Name: "none", Weight: 0}, {Name: "b", Weight: 10}},
		{{Name: "none", Weight: 0}, {Name: "a", Weight: 1}, {Name: "a", Weight: 2}, {Name: "b", Weight: 3}, {Name: "last", Weight: 0}},
		{{Name: "a", Weight: math.MaxUint32}, {Name: "b", Weight: math.MaxUint32}, {Name: "c", Weight: 1}},
		{{Name: "none", Weight: 0}, {Name: "neither", Weight: 0}},
	} {
		table := New(&config.RouteTable{Hosts: []*config.VirtualHost{{Domains: []string{"*"}, Routes: []*config.Route{
			{Match: config.Match{PathKind: config.PathExact, Path: "/"}, Redirect: &config.Redirect{}},
			{Match: config.Match{PathKind: config.PathExact, Path: "/other"}, Clusters: []config.WeightedCluster{{Name: "other", Weight: 1}}},
			{Clusters: clusters},
		}}}})
		if got := table.Find(&message.Request{Path: "/"}, Given{}).Cluster(7); got != -1 {
			t.Errorf("a redirect: got cluster %d, want -1", got)
		}
		rule, split := table.Find(&message.Request{Path: "/x"}, Given{}), NewSplit(clusters)
		for i := range uint64(300) {
			random := i
			if i > 200 {
				random = rand.Uint64()
			}
			want := walk(clusters, random)
			got := ""
			if i := rule.Cluster(random); i >= 0 {
				got = table.Clusters()[i]
			}
			if split := split.Pick(random); got != want || split != want {
				t.Fatalf("%v, number %d: got %q by the rule and %q by the split, want %q", clusters, random, got, split, want)
			}
		}
	}
	if got := NewSplit(nil).Pick(1); got != "" {
		t.Errorf("no cluster: got %q", got)
	}
}

func TestLocation(t *testing.T) {
	for _, c := range []struct {
		redirect  config.Redirect
		authority string
		want      string
	}{
		{config.Redirect{Scheme: "https"}, "a.example.com", "https://a.example.com/x?q"},
		{config.Redirect{Scheme: "https"}, "a.example.com:80", "https://a.example.com/x?q"},
		{config.Redirect{Scheme: "https"}, "a.example.com:8080", "https://a.example.com:8080/x?q"},
		{config.Redirect{Scheme: "https", Port: 8443}, "a.example.com:8080", "https://a.example.com:8443/x?q"},
		{config.Redirect{Scheme: "https", Port: 443}, "[::1]:8080", "https://[::1]:443/x?q"},
		{config.Redirect{Host: "b.example.com"}, "a.example.com:8080", "http://b.example.com/x?q"},
		{config.Redirect{Scheme: "http"}, "a.example.com:80", "http://a.example.com:80/x?q"},
		{config.Redirect{Port: 81}, "a.example.com", "http://a.example.com:81/x?q"},
		{config.Redirect{Path: "/new"}, "a.example.com", "http://a.example.com/new?q"},
		{config.Redirect{Path: "/new?own"}, "a.example.com", "http://a.example.com/new?own"},
		{config.Redirect{Path: "/new?own", StripQuery: true}, "a.example.com", "http://a.example.com/new?own"},
		{config.Redirect{Path: "/new", StripQuery: true}, "a.example.com", "http://a.example.com/new"},
		{config.Redirect{StripQuery: true, Host: "b.test"}, "a.example.com", "http://b.test/x"},
		{config.Redirect{Rewrite: &config.Rewrite{Prefix: "/new"}}, "a.example.com", "http://a.example.com/new?q"},
		{config.Redirect{Rewrite: &config.Rewrite{Prefix: "/new"}, StripQuery: true}, "a.example.com", "http://a.example.com/new"},
	} {
		req := &message.Request{Scheme: "http", Authority: c.authority, Path: "/x?q"}
		if got := Location(&config.Route{Redirect: &c.redirect, Match: config.Match{PathKind: config.PathSeparatedPrefix, Path: "/x"}}, req); got != c.want {
			t.Errorf("%+v of %s: got %s, want %s", c.redirect, c.authority, got, c.want)
		}
	}
}

func BenchmarkHost(b *testing.B) {
	table := New(hostTable("shop.example.com", "*.example.com", "*"))
	for _, host := range []string{"shop.example.com:8443", "Shop.Example.com:8443", "other.example.com:8443"} {
		b.Run(host, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Host(host)
			}
		})
	}
}

func BenchmarkPick(b *testing.B) {
	split := NewSplit([]config.WeightedCluster{{Name: "a", Weight: 90}, {Name: "b", Weight: 9}, {Name: "c", Weight: 1}})
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		split.Pick(i)
	}
}
