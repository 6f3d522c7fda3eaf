// Package route says where a request goes: virtual hosts, matches, the weighted choice, redirects.
//
// In: config's route table and a request's head. Out: a route. It is pure: no clock, no I/O, no chance but what it is
// given; the control plane's `explain` asks the same code. It must not know clusters or connections.
package route

import (
	"net/netip"
	"sort"
	"strings"
	"unsafe"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Table finds the route of a request. Read-only after New.
type Table struct {
	config *config.RouteTable
	// hosts are all of them, by what they were made of, and splits their clusters; fresh is how many those were when all was made
	// anew. Next reads them.
	hosts  map[*config.VirtualHost]*host
	splits splitter
	fresh  int
	// exact are the hosts without '*'.
	exact map[string]*host
	// suffixes are "*…" and prefixes "….*", by the text without '*'; their lengths are sorted, longest first.
	suffixes, prefixes           map[string]*host
	suffixLengths, prefixLengths []int
	// any is "*".
	any *host
}

// host is a virtual host, and its rules by path.
type host struct {
	config *config.VirtualHost
	trie   trie
}

// Rule is a route, and what New worked out of it.
type Rule struct {
	*config.Route
	split *Split
	// mirrors are the numbers of Route.Mirrors' clusters.
	mirrors []int32
}

// Mirror is the index in Table.Clusters of where the route's i-th copy goes.
func (r *Rule) Mirror(i int) int { return int(r.mirrors[i]) }

// Cluster chooses one of the route's clusters by weight, as Split.Pick does: it is the cluster's index in
// Table.Clusters, or -1 if the route has none.
func (r *Rule) Cluster(random uint64) int {
	if r.split == nil {
		return -1
	}
	i := r.split.pick(random)
	if i < 0 {
		return -1
	}
	return int(r.split.numbers[i])
}

// New indexes a table's hosts and their routes. Nil is a table that answers nothing.
func New(t *config.RouteTable) *Table { return Next(nil, t) }

// Next is New, for a table that takes the place of another, which may be nil: hosts that are the very same are not indexed again.
func Next(old *Table, t *config.RouteTable) *Table {
	table := &Table{
		config:   t,
		hosts:    map[*config.VirtualHost]*host{},
		splits:   splitter{numbers: map[string]int32{}, single: map[string]*Split{}},
		exact:    map[string]*host{},
		suffixes: map[string]*host{},
		prefixes: map[string]*host{},
	}
	if t == nil {
		table.config = &config.RouteTable{}
		return table
	}
	// The numbers of clusters that are gone stay, or hosts would have to be made anew: within bounds.
	again := old != nil && len(old.splits.names) <= 2*old.fresh+100
	if again {
		table.splits, table.fresh = old.splits.clone(), old.fresh
	}
	for _, v := range t.Hosts {
		var h *host
		if again {
			h = old.hosts[v]
		}
		if h == nil {
			h = newHost(v, &table.splits)
		}
		table.hosts[v] = h
		for _, domain := range v.Domains {
			domain = strings.ToLower(domain)
			switch {
			case domain == "*":
				table.any = h
			case strings.HasPrefix(domain, "*"):
				table.suffixes[domain[1:]] = h
			case strings.HasSuffix(domain, "*"):
				table.prefixes[domain[:len(domain)-1]] = h
			default:
				table.exact[domain] = h
			}
		}
	}
	if !again {
		table.fresh = len(table.splits.names)
	}
	table.suffixLengths = lengths(table.suffixes)
	table.prefixLengths = lengths(table.prefixes)
	return table
}

func newHost(v *config.VirtualHost, splits *splitter) *host {
	rules := make([]Rule, len(v.Routes))
	for i, r := range v.Routes {
		rules[i] = Rule{Route: r, split: splits.of(r.Clusters)}
		for _, m := range r.Mirrors {
			rules[i].mirrors = append(rules[i].mirrors, splits.number(m.Cluster))
		}
	}
	return &host{config: v, trie: newTrie(rules)}
}

func lengths(m map[string]*host) []int {
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

// Clusters are the names of all clusters that routes of the table send to, or of the one before did, each once: who keeps an object for each of
// them in this order finds it by Rule.Cluster, without a look-up by name.
func (t *Table) Clusters() []string { return t.splits.names }

// Host finds the virtual host of an authority; nil if there is none.
func (t *Table) Host(authority string) *config.VirtualHost {
	if h := t.host(authority); h != nil {
		return h.config
	}
	return nil
}

// host is by the exact name, then the longest suffix, then the longest prefix, then any.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-virtualhost
func (t *Table) host(authority string) *host {
	if t.config.IgnorePort {
		authority = WithoutPort(authority)
	}
	// A name in DNS has at most 253 bytes; a longer one may be allocated.
	var buf [256]byte
	name := lower(authority, buf[:0])
	if name != "" {
		if h := t.exact[name]; h != nil {
			return h
		}
		for _, n := range t.suffixLengths {
			// A wildcard stands for at least one byte.
			if n < len(name) {
				if h := t.suffixes[name[len(name)-n:]]; h != nil {
					return h
				}
			}
		}
		for _, n := range t.prefixLengths {
			if n < len(name) {
				if h := t.prefixes[name[:n]]; h != nil {
					return h
				}
			}
		}
	}
	return t.any
}

// Given is what rules ask for that does not stand in a request's head.
type Given struct {
	// Random is any number, evenly drawn, once for each request: as in Envoy, all fractions and the choice among clusters
	// (Rule.Cluster) are of the same draw.
	Random uint64
	// Source is the client's address; the zero value is in no network.
	Source netip.Addr
}

// Find is the first rule, in the order written, that matches; nil if none does. It does not allocate, and its cost does
// not grow with the number of rules that a path, an exact header or the method tells apart.
func (t *Table) Find(req *message.Request, given Given) *Rule {
	h := t.host(req.Authority)
	if h == nil {
		return nil
	}
	if i := h.trie.match(req, &given, withoutQuery(req.Path)); i != none {
		return &h.trie.rules[i]
	}
	return nil
}

// Match is Find's route.
func (t *Table) Match(req *message.Request, given Given) *config.Route {
	if r := t.Find(req, given); r != nil {
		return r.Route
	}
	return nil
}

func withoutQuery(path string) string {
	if i := strings.IndexByte(path, '?'); i >= 0 {
		return path[:i]
	}
	return path
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

// lower is s in lower case (ASCII). Only if there is something to lower does it write, to buf; the result is good for as
// long as buf is not written to.
func lower(s string, buf []byte) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= 'A' && c <= 'Z' {
			buf = append(buf, s...)
			for ; i < len(buf); i++ {
				if c := buf[i]; c >= 'A' && c <= 'Z' {
					buf[i] = c + 'a' - 'A'
				}
			}
			return unsafe.String(unsafe.SliceData(buf), len(buf))
		}
	}
	return s
}
