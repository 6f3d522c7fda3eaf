package cluster

import "slices"

// PickAgain chooses an endpoint that is not among those that were tried. It picks anew up to so many times, and then takes
// what it gets, as Envoy's previous_hosts predicate does; nil if there is no endpoint.
func (c *Cluster) PickAgain(tried []*Endpoint, times int) *Endpoint {
	return pickAgain(c.Pick, tried, times)
}

// PickAgainBy is PickAgain by a hash: each time by another one, which follows from it, so that a key's second endpoint is
// the same each time too. Only if Hashes. Envoy does so with maglev; on a ring it walks to the next points.
func (c *Cluster) PickAgainBy(hash uint64, tried []*Endpoint, times int) *Endpoint {
	n := uint64(0)
	return pickAgain(func() *Endpoint {
		by := hash
		if n > 0 {
			by ^= ^uint64(0) - n + 1
		}
		n++
		return c.PickBy(by)
	}, tried, times)
}

func pickAgain(pick func() *Endpoint, tried []*Endpoint, times int) *Endpoint {
	for ; ; times-- {
		e := pick()
		if e == nil || times <= 0 || !slices.ContainsFunc(tried, func(t *Endpoint) bool { return t.Load == e.Load }) {
			return e
		}
	}
}
