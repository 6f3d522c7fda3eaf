package srv

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// maxPriorities is how many priorities Envoy takes; servers of later ones are in the last.
const maxPriorities = 128

// mostShares bounds by how much weights grow: 65,535 of a record, a thousand servers and this stay below 2^32, which is
// what Envoy takes as a sum.
const mostShares = 60

// Expand puts servers in the place of the SRV names of a fleet; one without any is returned as it is. known says which
// servers a name has, and is asked once for each name of each cluster.
func Expand(f *ir.Fleet, known func(d *ir.DNS, name string) []Server) *ir.Fleet {
	if !slices.ContainsFunc(f.Clusters, func(c *ir.Cluster) bool { return c.SRV != nil }) {
		return f
	}
	out := *f
	out.Clusters = slices.Clone(f.Clusters)
	for i, c := range out.Clusters {
		if c.SRV != nil {
			expanded := *c
			expanded.Endpoints, expanded.SRV = endpoints(c, known), nil
			out.Clusters[i] = &expanded
		}
	}
	return &out
}

// endpoints are those of a cluster, in order of priority: that of the document first, within it that of the record. They
// are numbered anew, for Envoy wants none left out.
func endpoints(c *ir.Cluster, known func(*ir.DNS, string) []Server) []ir.Endpoint {
	type level struct{ document, record uint32 }
	type placed struct {
		level
		ir.Endpoint
	}
	var all []placed
	for _, e := range c.Endpoints {
		if e.Address.Records == "" {
			all = append(all, placed{level{document: e.Priority}, e})
			continue
		}
		servers := known(c.SRV, e.Address.Records)
		weights := shares(servers)
		for i, s := range servers {
			one := e
			one.Address, one.Weight = ir.Address{AddrPort: s.Address}, weights[i]
			all = append(all, placed{level{e.Priority, uint32(s.Priority)}, one})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.document, b.document), cmp.Compare(a.record, b.record))
	})
	seen := map[netip.AddrPort]bool{}
	var out []ir.Endpoint
	var last level
	priority := uint32(0)
	for _, p := range all {
		// Proxies know a server by its address: where it stands twice, the first place counts.
		if p.Address.IsValid() && seen[p.Address.AddrPort] {
			continue
		}
		seen[p.Address.AddrPort] = true
		if len(out) > 0 && p.level != last {
			priority = min(priority+1, maxPriorities-1)
		}
		last = p.level
		p.Priority = priority
		out = append(out, p.Endpoint)
	}
	return out
}

// shares are the weights of servers. A record's weight is its target's, however many addresses that has; 0, which RFC 2782
// has for "hardly ever", is 1.
func shares(servers []Server) []uint32 {
	type record struct {
		target   string
		port     uint16
		priority uint16
		weight   uint16
	}
	of := func(s Server) record { return record{s.Target, s.Address.Port(), s.Priority, s.Weight} }
	addresses := map[record]uint32{}
	for _, s := range servers {
		addresses[of(s)]++
	}
	factor := uint32(1)
	for _, n := range addresses {
		factor = min(lcm(factor, n), mostShares)
	}
	out := make([]uint32, len(servers))
	for i, s := range servers {
		n := addresses[of(s)]
		out[i] = max(1, (max(1, uint32(s.Weight))*factor+n/2)/n)
	}
	return out
}

// lcm is the least common multiple of numbers from 1 to maxServers.
func lcm(a, b uint32) uint32 {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
