package cluster

import "slices"

// PickAgain chooses an endpoint that is not among those that were tried. It picks anew up to so many times, and then takes
// what it gets, as Envoy's previous_hosts predicate does; nil if there is no endpoint.
func (c *Cluster) PickAgain(tried []*Endpoint, times int) *Endpoint {
	return pickAgain(c.Pick, tried, times)
}

// PickAgainBy is PickAgain by a hash: a key's second endpoint is the same each time, too. The priority is the key's own all
// the while. Only if Hashes.
func (c *Cluster) PickAgainBy(hash uint64, tried []*Endpoint, times int) *Endpoint {
	leaf := c.leafOf(hash)
	further, ok := leaf.hashing.(interface{ PickNth(hash uint64, n int) int })
	if !ok {
		return leaf.at(leaf.hashing.PickBy(hash)) // there is but one, or none
	}
	n := -1
	return pickAgain(func() *Endpoint {
		n++
		return leaf.at(further.PickNth(hash, n))
	}, tried, times)
}

// maxAgain bounds the picks: a control plane may ask for 2³¹ of them, which no request is worth when all endpoints were
// tried. By then chance alone would have found another one if there were.
const maxAgain = 1000

func pickAgain(pick func() *Endpoint, tried []*Endpoint, times int) *Endpoint {
	for times = min(times, maxAgain); ; times-- {
		e := pick()
		if e == nil || times <= 0 || !slices.ContainsFunc(tried, func(t *Endpoint) bool { return t.Load == e.Load }) {
			return e
		}
	}
}
