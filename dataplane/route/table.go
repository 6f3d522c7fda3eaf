// Package route says where a request goes: virtual hosts, matches, the weighted choice, redirects.
//
// In: config's route table and a request's head. Out: a route. It is pure: no clock, no I/O, no chance but what it is
// given; the control plane's `explain` asks the same code. It must not know clusters or connections.
package route

import (
	"sort"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Table finds the route of a request. Read-only after New.
type Table struct {
	config *config.RouteTable
	// exact are the hosts without '*'.
	exact map[string]*config.VirtualHost
	// suffixes are "*…" and prefixes "….*", by the text without '*'; their lengths are sorted, longest first.
	suffixes, prefixes           map[string]*config.VirtualHost
	suffixLengths, prefixLengths []int
	// any is "*".
	any *config.VirtualHost
}

// New indexes a table's hosts. Nil is a table that answers nothing.
func New(t *config.RouteTable) *Table {
	table := &Table{
		config:   t,
		exact:    map[string]*config.VirtualHost{},
		suffixes: map[string]*config.VirtualHost{},
		prefixes: map[string]*config.VirtualHost{},
	}
	if t == nil {
		table.config = &config.RouteTable{}
		return table
	}
	for _, host := range t.Hosts {
		for _, domain := range host.Domains {
			domain = strings.ToLower(domain)
			switch {
			case domain == "*":
				table.any = host
			case strings.HasPrefix(domain, "*"):
				table.suffixes[domain[1:]] = host
			case strings.HasSuffix(domain, "*"):
				table.prefixes[domain[:len(domain)-1]] = host
			default:
				table.exact[domain] = host
			}
		}
	}
	table.suffixLengths = lengths(table.suffixes)
	table.prefixLengths = lengths(table.prefixes)
	return table
}

func lengths(m map[string]*config.VirtualHost) []int {
	seen := map[int]bool{}
	var out []int
	for s := range m {
		if !seen[len(s)] {
			seen[len(s)] = true
			out = append(out, len(s))
		}
	}
	sort.Sort(sort.Reverse(sort.IntSlice(out)))
	return out
}

// Config is what the table was made from.
func (t *Table) Config() *config.RouteTable { return t.config }

// Host finds the virtual host of an authority: exact, then the longest suffix, then the longest prefix, then any.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-virtualhost
func (t *Table) Host(authority string) *config.VirtualHost {
	host := authority
	if t.config.IgnorePort {
		host = WithoutPort(host)
	}
	host = lower(host)
	if host != "" {
		if v := t.exact[host]; v != nil {
			return v
		}
		for _, n := range t.suffixLengths {
			// A wildcard stands for at least one byte.
			if n < len(host) {
				if v := t.suffixes[host[len(host)-n:]]; v != nil {
					return v
				}
			}
		}
		for _, n := range t.prefixLengths {
			if n < len(host) {
				if v := t.prefixes[host[:n]]; v != nil {
					return v
				}
			}
		}
	}
	return t.any
}

// Match is the first route that matches; nil if none does.
func (t *Table) Match(req *message.Request) *config.Route {
	host := t.Host(req.Authority)
	if host == nil {
		return nil
	}
	path := withoutQuery(req.Path)
	for _, r := range host.Routes {
		if matchPath(&r.Match, path) && matchHeaders(r.Match.Headers, req) < 0 {
			return r
		}
	}
	return nil
}

func withoutQuery(path string) string {
	if i := strings.IndexByte(path, '?'); i >= 0 {
		return path[:i]
	}
	return path
}

func matchPath(m *config.Match, path string) bool {
	switch m.PathKind {
	case config.PathExact:
		return path == m.Path
	case config.PathSeparatedPrefix:
		return strings.HasPrefix(path, m.Path) && (len(path) == len(m.Path) || path[len(m.Path)] == '/')
	default:
		return strings.HasPrefix(path, m.Path)
	}
}

// matchHeaders is the index of the first header that does not match, or -1.
func matchHeaders(headers []config.HeaderMatch, req *message.Request) int {
	for i := range headers {
		if !holds(&headers[i], req) {
			return i
		}
	}
	return -1
}

// holds tells whether a header match holds. Of several lines of one name any may match, by itself: Envoy 1.40 does not
// join them.
func holds(m *config.HeaderMatch, req *message.Request) bool {
	if got, ok := pseudoValue(req, m.Name); ok {
		return got == m.Exact
	}
	for i := range req.Header {
		if f := &req.Header[i]; f.Value == m.Exact && message.EqualName(f.Name, m.Name) {
			return true
		}
	}
	return false
}

// headerValue is a header's value for people: several lines are joined.
func headerValue(req *message.Request, name string) (string, bool) {
	if value, ok := pseudoValue(req, name); ok {
		return value, ok
	}
	return req.Header.Joined(name)
}

// pseudoValue is the value of what is a header to a match, and stands in a field of its own.
func pseudoValue(req *message.Request, name string) (string, bool) {
	switch name {
	case ":method":
		return req.Method, true
	case ":path":
		return req.Path, true
	case ":scheme":
		return req.Scheme, true
	case ":authority", "host":
		return req.Authority, req.Authority != ""
	}
	return "", false
}

// WithoutPort cuts ":port" off a host; an IPv6 address keeps its brackets.
func WithoutPort(authority string) string {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority
	}
	for _, c := range []byte(authority[i+1:]) {
		if c < '0' || c > '9' {
			return authority
		}
	}
	return authority[:i]
}

// lower allocates only if there is something to lower.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// Pick chooses a cluster by weight: random is any number, evenly drawn.
func Pick(clusters []config.WeightedCluster, random uint64) string {
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
