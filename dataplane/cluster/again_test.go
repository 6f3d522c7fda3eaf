package cluster

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Whatever the policy, an endpoint that has failed is avoided while there is another, and taken when there is none.
func TestPickAgain(t *testing.T) {
	endpoints := func(n int) (list []config.Endpoint) {
		for i := range n {
			list = append(list, config.Endpoint{Address: config.At(netip.MustParseAddrPort(fmt.Sprintf("10.0.0.%d:80", i+1))), Weight: 1})
		}
		return list
	}
	for name, cfg := range map[string]config.Cluster{
		"round robin":   {},
		"random":        {Policy: config.Random},
		"least request": {Policy: config.LeastRequest, ChoiceCount: 2},
		"ring":          {Policy: config.RingHash, MinRingSize: 64, MaxRingSize: 64, HashOn: []config.HashKey{{}}},
		"maglev":        {Policy: config.Maglev, TableSize: 251, HashOn: []config.HashKey{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			again := func(c *Cluster, hash uint64, tried []*Endpoint, times int) *Endpoint {
				if c.Hashes() {
					return c.PickAgainBy(hash, tried, times)
				}
				return c.PickAgain(tried, times)
			}
			c := New(&cfg, endpoints(3), nil)
			for i := range uint64(100) {
				hash := i * 0x9e3779b97f4a7c15
				tried := c.Endpoints[:2]
				if e := again(c, hash, tried, 1000); e != c.Endpoints[2] {
					t.Fatalf("got %v, which has failed", e.Address)
				}
			}
			if e := again(c, 1, c.Endpoints, 10); e == nil {
				t.Error("all have failed: got none, want any")
			}
			if e := again(New(&cfg, nil, nil), 1, nil, 10); e != nil {
				t.Errorf("no endpoints: got %v", e.Address)
			}
			failed := 0
			for i := range uint64(100) {
				hash := i * 0x9e3779b97f4a7c15
				if again(c, hash, c.Endpoints[:2], 0) != c.Endpoints[2] {
					failed++
				}
			}
			if failed == 0 {
				t.Error("nobody asked for another, and none that has failed was taken")
			}
			if c.Hashes() {
				first := c.PickBy(7)
				a, b := c.PickAgainBy(7, []*Endpoint{first}, 20), c.PickAgainBy(7, []*Endpoint{first}, 20)
				if a != b || a == first {
					t.Errorf("a key's second endpoint: got %v and %v after %v", a.Address, b.Address, first.Address)
				}
			}
		})
	}
}

// However many picks a control plane asks for, a request does not pick for ever when all endpoints were tried.
func TestPickAgainEnds(t *testing.T) {
	tried, picks := &Endpoint{Load: &Load{}}, 0
	e := pickAgain(func() *Endpoint {
		if picks++; picks > 2*maxAgain {
			return nil // enough seen
		}
		return tried
	}, []*Endpoint{tried}, math.MaxInt32)
	if e != tried || picks != maxAgain+1 {
		t.Errorf("got %v after %d picks, want what was tried after %d", e, picks, maxAgain+1)
	}
}
