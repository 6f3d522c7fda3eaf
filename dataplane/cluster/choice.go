package cluster

import (
	"sync/atomic"

	"github.com/sluice-proxy/sluice/dataplane/balance"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// choice is who may be chosen at one time, and how. It is read-only.
type choice struct {
	endpoints []*Endpoint
	// picker chooses an index of endpoints. hashing is the picker, if Config.HashOn says on what; else nil.
	picker  balance.Picker
	hashing balance.Hashing
}

// Refresh looks anew at who may be chosen. Whoever changes the health of an endpoint calls it; it takes the time of
// building the policy's tables, and requests go on meanwhile.
func (c *Cluster) Refresh() { c.choice.Store(c.choose()) }

// choose takes the healthy endpoints.
func (c *Cluster) choose() *choice {
	var ch choice
	var given []config.Endpoint
	var weights []uint32
	for i, e := range c.Endpoints {
		if e.Healthy() {
			ch.endpoints = append(ch.endpoints, e)
			given = append(given, c.given[i])
			weights = append(weights, e.Weight)
		}
	}
	switch c.Config.Policy {
	case config.Random:
		ch.picker = balance.NewRandom(len(weights))
	case config.RingHash, config.Maglev:
		hashing := newHashing(c.Config, given, weights)
		ch.picker = hashing
		if len(c.Config.HashOn) > 0 {
			ch.hashing = hashing
		}
	case config.LeastRequest:
		active := make([]*atomic.Int64, len(ch.endpoints))
		for i, e := range ch.endpoints {
			active[i] = &e.Active
		}
		ch.picker = balance.NewLeastRequest(weights, int(c.Config.ChoiceCount), active)
	default:
		ch.picker = balance.NewRoundRobin(weights)
	}
	return &ch
}

// Pick chooses an endpoint; nil if there is none.
func (c *Cluster) Pick() *Endpoint {
	ch := c.choice.Load()
	return ch.at(ch.picker.Pick())
}

// at is an endpoint by the index that a picker chose; nil for none.
func (ch *choice) at(i int) *Endpoint {
	if i < 0 {
		return nil
	}
	return ch.endpoints[i]
}
