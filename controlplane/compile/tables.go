package compile

import (
	"cmp"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// misdirected is the answer to a request for a host of another listener on the same socket (RFC 9110, section 15.5.20).
const misdirected = 421

// fleet makes what one fleet's proxies get, and no more: the clusters and certificates that its listeners use.
func (c *compiler) fleet(name string, f *fleet) *ir.Fleet {
	out := &ir.Fleet{Name: name}
	clusters, certs, trust := map[string]bool{}, map[string]bool{}, map[string]bool{}
	use := func(backends []ir.Backend) {
		for _, b := range backends {
			clusters[b.Cluster] = true
		}
	}
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
				use(l.backends)
				continue
			}
			table := c.sameTable(name, c.table(s, l))
			for _, host := range table.Hosts {
				for _, r := range host.Rules {
					use(r.Backends)
					for _, m := range r.Mirrors {
						clusters[m.Cluster] = true
					}
				}
			}
			out.RouteTables = append(out.RouteTables, table)
		}
	}
	slices.SortFunc(out.RouteTables, func(a, b *ir.RouteTable) int { return cmp.Compare(a.Name, b.Name) })
	for _, name := range sortedKeysOf(c, "clusters of "+name, clusters) {
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

// candidate is a Route that may answer for a host, and the host that it was written with.
type candidate struct {
	route *route
	host  string
}

// table makes a listener's virtual hosts.
func (c *compiler) table(s *socket, l *listener) *ir.RouteTable {
	hosts := make(map[string][]candidate, len(l.joins))
	for _, r := range l.joins {
		for _, written := range r.msg.GetHosts() {
			for _, own := range l.msg.GetHosts() {
				// What another listener of the socket covers better is that one's.
				if host, ok := intersect(own, written); ok && s.owner(host) == l {
					hosts[host] = append(hosts[host], candidate{r, written})
				}
			}
		}
	}
	if len(hosts) == 0 && l.joinable() {
		c.idle = append(c.idle, l)
	}
	table := &ir.RouteTable{Name: l.name}
	for _, host := range sortedKeysOf(c, "hosts of "+l.name, hosts) {
		table.Hosts = append(table.Hosts, c.virtualHost(host, answering(hosts[host])))
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
				ID: id + "#misdirected", Respond: &ir.Response{Status: misdirected, Body: "this connection is not for this host\n"},
			}}})
		}
		c.out.Origins[id+"#misdirected"] = l.gateway.doc.At(l.field)
	}
	slices.SortFunc(table.Hosts, func(a, b *ir.VirtualHost) int { return cmp.Compare(a.Host, b.Host) })
	return table
}

// answering keeps the Routes with the most specific host as written, in the order in which they are asked: there is no
// fall-through to a less specific one.
func answering(candidates []candidate) []*route {
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

// virtualHost makes a host's rules. Hosts with the same Routes share one list of them, which nobody changes.
func (c *compiler) virtualHost(host string, routes []*route) *ir.VirtualHost {
	key := routes[0].msg.GetName()
	for _, r := range routes[1:] {
		key += " " + r.msg.GetName()
	}
	_, known := c.now.rules[key]
	memo := c.rememberRules(key, routes)
	if !known {
		c.tally.add(host, routes, memo.verdict)
	}
	return memo.host(host)
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
