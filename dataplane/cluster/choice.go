package cluster

import (
	"sync/atomic"

	"github.com/sluice-proxy/sluice/dataplane/balance"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// choice is who may be chosen at one time, and how. A cluster of one priority and no zone weights is a leaf; else choices
// stand above it, one for the priorities and one for the zones of each. It is read-only.
type choice struct {
	// parts are what is chosen from first; nil in a leaf, which has endpoints.
	parts     []*choice
	endpoints []*Endpoint
	// picker chooses an index of parts or of endpoints. hashing is the picker, if Config.HashOn says on what; else nil.
	picker  balance.Picker
	hashing balance.Hashing
	// panicking: the ill are among the endpoints below. It stands above a leaf, so that leaves need not look.
	panicking bool
}

// Refresh looks anew at who may be chosen, in the newest version too. Whoever changes the health of an endpoint calls it
// afterwards; it takes the time of building the policy's tables, and requests go on meanwhile.
//
// A version that is made meanwhile misses nothing: New makes it the newest first, and then looks, so that it either sees the
// change or is seen here.
func (c *Cluster) Refresh() {
	c.refresh()
	if newest := c.versions.newest.Load(); newest != c {
		newest.refresh()
	}
}

func (c *Cluster) refresh() {
	c.stale.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	// Many may come at once, as when all endpoints are asked for the first time: who looks, looks for all who wait.
	if !c.stale.Swap(false) {
		return
	}
	c.choice.Store(c.choose())
	c.schedule()
}

// choose spreads the requests over the priorities.
func (c *Cluster) choose() *choice {
	members := [][]int{nil}
	for i, e := range c.given {
		for int(e.Priority) >= len(members) {
			members = append(members, nil)
		}
		members[e.Priority] = append(members[e.Priority], i)
	}
	levels := make([]level, len(members))
	for p, list := range members {
		levels[p].all = len(list)
		for _, i := range list {
			switch e := c.Endpoints[i]; {
			case e.Healthy():
				levels[p].healthy++
			case e.Illness()&Draining != 0:
				levels[p].draining++
			}
		}
	}
	shares, panicking := spread(levels, int(c.Config.PanicThreshold))
	top := &choice{}
	var percents []int
	for p, share := range shares {
		if share > 0 {
			top.parts = append(top.parts, c.level(members[p], panicking[p]))
			percents = append(percents, share)
		}
	}
	if len(top.parts) == 1 {
		return top.parts[0]
	}
	split := balance.NewPercent(percents)
	top.picker = split
	if top.parts[0].hashing != nil {
		top.hashing = split
	}
	return top
}

// level chooses among the endpoints of one priority.
func (c *Cluster) level(members []int, panicking bool) *choice {
	hashes := c.Config.Policy == config.RingHash || c.Config.Policy == config.Maglev
	var ch *choice
	if c.Config.LocalityWeighted {
		switch list := c.localities(members, panicking); {
		case hashes:
			ch = c.hashed(list)
		case !hashes && !panicking:
			// In panic Envoy takes any endpoint of the priority, wherever it is.
			ch = c.among(list)
		}
	}
	if ch == nil {
		var usable []int
		for _, i := range members {
			if panicking || c.Endpoints[i].Healthy() {
				usable = append(usable, i)
			}
		}
		if hashes {
			ch = c.hashLeaf(usable, balance.Shares(c.weights(usable)))
		} else {
			ch = c.leaf(usable)
		}
	}
	if !panicking {
		return ch
	}
	all := balance.NewPercent([]int{100})
	in := &choice{parts: []*choice{ch}, picker: all, panicking: true}
	if ch.hashing != nil {
		in.hashing = all
	}
	return in
}

func (c *Cluster) weights(members []int) []uint32 {
	var weights []uint32
	for _, i := range members {
		weights = append(weights, c.Endpoints[i].Weight)
	}
	return weights
}

// endpointsAt are endpoints by their index.
func (c *Cluster) endpointsAt(members []int) []*Endpoint {
	var list []*Endpoint
	for _, i := range members {
		list = append(list, c.Endpoints[i])
	}
	return list
}

// hashLeaf chooses among endpoints by their shares of a ring or a table.
func (c *Cluster) hashLeaf(members []int, shares []float64) *choice {
	var given []config.Endpoint
	for _, i := range members {
		given = append(given, c.given[i])
	}
	hashing := newHashing(c.Config, given, shares)
	ch := &choice{endpoints: c.endpointsAt(members), picker: hashing}
	if len(c.Config.HashOn) > 0 {
		ch.hashing = hashing
	}
	return ch
}

// leaf chooses among endpoints by a policy that does not hash.
func (c *Cluster) leaf(members []int) *choice {
	ch := &choice{endpoints: c.endpointsAt(members)}
	weights := c.eased(members, c.weights(members))
	switch c.Config.Policy {
	case config.Random:
		ch.picker = balance.NewRandom(len(weights))
	case config.LeastRequest:
		active := make([]*atomic.Int64, len(ch.endpoints))
		for i, e := range ch.endpoints {
			active[i] = &e.Active
		}
		ch.picker = balance.NewLeastRequest(weights, int(c.Config.ChoiceCount), active)
	default:
		ch.picker = balance.NewRoundRobin(weights)
	}
	return ch
}

// Pick chooses an endpoint; nil if there is none.
func (c *Cluster) Pick() *Endpoint {
	ch := c.choice.Load()
	for ch.parts != nil {
		ch = c.down(ch, ch.picker.Pick())
	}
	return ch.at(ch.picker.Pick())
}

// down is one of a choice's parts.
func (c *Cluster) down(ch *choice, i int) *choice {
	if ch.panicking {
		c.Stats.PanicPicks.Add(1)
	}
	return ch.parts[i]
}

// at is an endpoint of a leaf by the index that a picker chose; nil for none.
func (ch *choice) at(i int) *Endpoint {
	if i < 0 {
		return nil
	}
	return ch.endpoints[i]
}
