package cluster

import (
	"slices"

	"github.com/sluice-proxy/sluice/dataplane/balance"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// locality is the endpoints of one place in one priority, by their index in the cluster.
type locality struct {
	place  config.Locality
	weight uint32
	all    []int
	// usable are those of all that may be chosen.
	usable []int
	// counted are those that do not drain.
	counted int
}

// localities sorts endpoints by place. A priority in panic uses all of them.
func (c *Cluster) localities(members []int, panicking bool) []*locality {
	var list []*locality
	at := map[config.Locality]*locality{}
	for _, i := range members {
		given := &c.given[i]
		l := at[given.Locality]
		if l == nil {
			l = &locality{place: given.Locality, weight: given.LocalityWeight}
			at[given.Locality] = l
			list = append(list, l)
		}
		l.all = append(l.all, i)
		if panicking || c.Endpoints[i].Healthy() {
			l.usable = append(l.usable, i)
		}
		if c.Endpoints[i].Illness()&Draining == 0 {
			l.counted++
		}
	}
	slices.SortFunc(list, func(a, b *locality) int { return a.place.Compare(b.place) })
	return list
}

// among chooses a locality, and then one of its endpoints; nil where no locality has a weight: then localities mean nothing.
//
// What a locality gets is its weight times how much of it is healthy, as with priorities: whole until less than 72 % is.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/locality_weight
func (c *Cluster) among(list []*locality) *choice {
	// With these many steps a share is right to a millionth; the sum of two thousand localities stays far from overflow.
	const steps = 1 << 20
	most := 0.0
	var shares []float64
	var parts []*choice
	for _, l := range list {
		if l.weight == 0 || len(l.usable) == 0 {
			continue
		}
		share := float64(l.weight) * min(1, overprovisioning/100.*float64(len(l.usable))/float64(l.counted))
		shares, parts = append(shares, share), append(parts, c.leaf(l.usable))
		most = max(most, share)
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	weights := make([]uint32, len(shares))
	for i, share := range shares {
		weights[i] = max(1, uint32(share/most*steps+0.5))
	}
	return &choice{parts: parts, picker: balance.NewRoundRobin(weights)}
}

// hashed is one ring, or table, of all localities: the share of each is its weight's, whoever of it is healthy, and its
// endpoints divide it. The share of a locality without any falls to all others; without weights nobody is there (measured on
// Envoy).
func (c *Cluster) hashed(list []*locality) *choice {
	var sum uint64
	for _, l := range list {
		sum += uint64(l.weight)
	}
	var members []int
	var shares []float64
	for _, l := range list {
		if l.weight == 0 {
			continue
		}
		part := float64(l.weight) / float64(sum)
		var own uint64
		for _, i := range l.usable {
			own += uint64(c.Endpoints[i].Weight)
		}
		for _, i := range l.usable {
			members = append(members, i)
			shares = append(shares, float64(float64(c.Endpoints[i].Weight)*part)/float64(own))
		}
	}
	return c.hashLeaf(members, shares)
}
