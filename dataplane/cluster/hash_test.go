package cluster

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/balance"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

func endpoints(hashKeys bool, ports ...uint16) []config.Endpoint {
	var out []config.Endpoint
	for i, port := range ports {
		e := config.Endpoint{Address: config.At(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), port)), Weight: 1}
		if hashKeys {
			e.HashKey = fmt.Sprint("key-", i)
		}
		out = append(out, e)
	}
	return out
}

// An endpoint with a hash key keeps its keys when its address changes; without one it does not.
func TestHashKeyOutlivesAddress(t *testing.T) {
	for _, policy := range []config.Policy{config.RingHash, config.Maglev} {
		cfg := &config.Cluster{Policy: policy, MinRingSize: 1024, MaxRingSize: 1024, TableSize: 1009, HashOn: []config.HashKey{{Name: "x"}}}
		for _, keys := range []bool{true, false} {
			before, after := New(cfg, endpoints(keys, 1, 2, 3), nil), New(cfg, endpoints(keys, 4, 5, 6), nil)
			moved := 0
			for n := range 300 {
				hash := balance.HashText(fmt.Sprint(n))
				if after.PickBy(hash).Address.Port() != before.PickBy(hash).Address.Port()+3 {
					moved++
				}
			}
			if keys != (moved == 0) {
				t.Errorf("policy %d, hash keys %v: got %d of 300 keys moved", policy, keys, moved)
			}
		}
	}
}

// A TCP client is known by its address, where that is asked for; else anyone takes it.
func TestPickTCP(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.1")
	source := config.HashKey{Kind: config.HashSourceAddress}
	last := source
	last.Terminal = true
	own := balance.HashText("192.0.2.1")
	for name, c := range map[string]struct {
		on   []config.HashKey
		hash uint64
	}{
		"the address":                  {[]config.HashKey{source}, own},
		"what TCP has not":             {[]config.HashKey{{Name: "x", Terminal: true}, source}, own},
		"twice":                        {[]config.HashKey{source, source}, balance.Combine(own, own)},
		"twice, the first is terminal": {[]config.HashKey{last, source}, own},
	} {
		ring := New(&config.Cluster{Policy: config.RingHash, MinRingSize: 1024, MaxRingSize: 1024, HashOn: c.on}, endpoints(false, 1, 2, 3, 4, 5, 6, 7, 8, 9), nil)
		if got, want := ring.PickTCP(client), ring.PickBy(c.hash); got != want {
			t.Errorf("%s: got %s, want %s", name, got.Address, want.Address)
		}
	}
	for name, c := range map[string]*Cluster{
		"nothing that TCP has": New(&config.Cluster{Policy: config.RingHash, MinRingSize: 1024, MaxRingSize: 1024, HashOn: []config.HashKey{{Name: "x"}}}, endpoints(false, 1, 2), nil),
		"no hash policy":       New(&config.Cluster{Policy: config.Maglev, TableSize: 1009}, endpoints(false, 1, 2), nil),
		"random":               New(&config.Cluster{Policy: config.Random}, endpoints(false, 1, 2), nil),
	} {
		seen := map[*Endpoint]bool{}
		for range 200 {
			seen[c.PickTCP(client)] = true
		}
		if len(seen) != 2 {
			t.Errorf("%s: got %d endpoints in 200 picks, want both", name, len(seen))
		}
	}
	if e := New(&config.Cluster{Policy: config.RingHash, MinRingSize: 1, MaxRingSize: 1, HashOn: []config.HashKey{source}}, nil, nil).PickTCP(client); e != nil {
		t.Errorf("no endpoints: got %s, want none", e.Address)
	}
}
