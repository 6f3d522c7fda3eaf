package compile

import (
	"cmp"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// misdirected is the answer to a request for a host of another listener on the same socket (RFC 9110, section 15.5.20).
const misdirected = 421

// misdirectedRule ends the name of the rule that says so.
const misdirectedRule = "#misdirected"

// fleet makes what one fleet's proxies get, and no more: the clusters and certificates that its listeners use.
func (c *compiler) fleet(name string, f *fleet) *ir.Fleet {
	out := &ir.Fleet{Name: name}
	var clusters []string
	certs, trust := map[string]bool{}, map[string]bool{}
	for _, s := range sockets(f.listeners) {
		// With strictSNI, and no certificate that covers a host, there is nobody to listen for: Envoy refuses such a listener.
		if l := c.socket(s); len(l.Chains) > 0 || l.Default != nil {
			out.Listeners = append(out.Listeners, l)
		}
		for _, l := range s.listeners {
			for _, cert := range l.certs {
				certs[cert.doc.Ref.Name] = true
			}
			if l.clients != nil {
				trust[l.clients.TrustBundle] = true
			}
			if l.tcp() {
				for _, b := range l.backends {
					clusters = union(clusters, []string{b.Cluster})
				}
				continue
			}
			table := c.tableOf(name, s, l)
			clusters = union(clusters, table.clusters)
			out.RouteTables = append(out.RouteTables, table.table)
		}
	}
	slices.SortFunc(out.RouteTables, func(a, b *ir.RouteTable) int { return cmp.Compare(a.Name, b.Name) })
	out.Clusters = make([]*ir.Cluster, 0, len(clusters))
	for _, name := range clusters {
		cluster := c.services[name].cluster
		out.Clusters = append(out.Clusters, cluster)
		if t := cluster.TLS; t != nil && t.Certificate != "" {
			certs[t.Certificate] = true
		}
		if t := cluster.TLS; t != nil && t.Validation != nil {
			trust[t.Validation.TrustBundle] = true
		}
	}
	for _, name := range sortedKeys(certs) {
		out.Certificates = append(out.Certificates, c.certs[name].ir)
	}
	for _, name := range sortedKeys(trust) {
		out.TrustBundles = append(out.TrustBundles, c.trust[name].ir)
	}
	return out
}

// union is what stands in one of two sorted lists, sorted. It may be one of them.
func union(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	out := make([]string, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := cmp.Compare(a[0], b[0]); {
		case order < 0:
			out, a = append(out, a[0]), a[1:]
		case order > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// candidate is a Route that may answer for a host, and the host that it was written with.
type candidate struct {
	route *route
	host  string
}

// candidates are the Routes that may answer for each host of a listener.
func candidates(s *socket, l *listener) map[string][]candidate {
	hosts := make(map[string][]candidate, len(l.joins))
	firsts := make([]candidate, 0, len(l.joins)) // most hosts have no other
	for _, r := range l.joins {
		for _, written := range r.msg.GetHosts() {
			for _, own := range l.msg.GetHosts() {
				// What another listener of the socket covers better is that one's.
				host, ok := intersect(own, written)
				if !ok || s.owner(host) != l {
					continue
				}
				list := hosts[host]
				if list == nil {
					firsts = append(firsts, candidate{r, written})
					n := len(firsts)
					hosts[host] = firsts[n-1 : n : n]
					continue
				}
				hosts[host] = append(list, candidate{r, written})
			}
		}
	}
	return hosts
}

// sortedHosts are sorted names, most of which are those of the table before.
func sortedHosts(hosts map[string][]candidate, before *ir.RouteTable) []string {
	names := make([]string, 0, len(hosts))
	if before != nil {
		for _, h := range before.Hosts {
			if hosts[h.Host] != nil {
				names = append(names, h.Host)
			}
		}
	}
	if len(names) < len(hosts) {
		return sortedKeys(hosts)
	}
	return names
}

// newTable makes a listener's virtual hosts. before is the table of its name as it was; nil is none.
func (c *compiler) newTable(s *socket, l *listener, before *ir.RouteTable) *tableMemo {
	memo := c.memory.newTable(s, l)
	hosts := candidates(s, l)
	memo.idle = len(hosts) == 0 && l.joinable()
	table := &ir.RouteTable{Name: l.name, Hosts: make([]*ir.VirtualHost, 0, len(hosts))}
	for _, host := range sortedHosts(hosts, before) {
		routes := answering(hosts[host])
		rules := c.memory.rulesOf(routes)
		memo.use(host, routes, rules)
		table.Hosts = append(table.Hosts, rules.host(host))
	}
	id := "Gateway/" + l.name
	if l.msg.GetRedirect() != nil {
		for _, host := range l.msg.GetHosts() {
			table.Hosts = append(table.Hosts, &ir.VirtualHost{Name: host, Host: host, Rules: []ir.Rule{{ID: id, Redirect: redirect(l.msg.GetRedirect())}}})
		}
	}
	for _, other := range s.listeners {
		if other == l {
			continue
		}
		for _, host := range other.msg.GetHosts() {
			table.Hosts = append(table.Hosts, &ir.VirtualHost{Name: host, Host: host, Rules: []ir.Rule{{
				ID: id + misdirectedRule, Respond: &ir.Response{Status: misdirected, Body: "this connection is not for this host\n"},
			}}})
		}
	}
	slices.SortFunc(table.Hosts, func(a, b *ir.VirtualHost) int { return cmp.Compare(a.Host, b.Host) })
	memo.done(table, before)
	return memo
}

// answering keeps the Routes with the most specific host as written, in the order in which they are asked: there is no
// fall-through to a less specific one.
func answering(candidates []candidate) []*route {
	if len(candidates) == 1 {
		return []*route{candidates[0].route}
	}
	best := 0
	for _, x := range candidates {
		best = max(best, specificity(x.host))
	}
	var routes []*route
	for _, x := range candidates {
		if specificity(x.host) == best && !slices.Contains(routes, x.route) {
			routes = append(routes, x.route)
		}
	}
	slices.SortFunc(routes, func(a, b *route) int {
		return cmp.Or(cmp.Compare(b.msg.GetPriority(), a.msg.GetPriority()), cmp.Compare(a.msg.GetName(), b.msg.GetName()))
	})
	return routes
}

// origin is where an ir.Rule comes from.
type origin struct {
	route *route
	rule  int
}

func (o origin) String() string {
	if o.route.short() {
		return o.route.doc.Ref.String()
	}
	return o.route.rules[o.rule].id
}

func (o origin) position() definition.Position { return o.route.doc.At(o.route.rules[o.rule].field) }
