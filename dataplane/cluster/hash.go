package cluster

import (
	"net/netip"

	"github.com/sluice-proxy/sluice/dataplane/balance"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// newHashing makes the picker of a policy that hashes.
func newHashing(cfg *config.Cluster, endpoints []config.Endpoint, shares []float64) balance.Hashing {
	keys := make([]string, len(endpoints))
	for i, e := range endpoints {
		if keys[i] = e.HashKey; keys[i] == "" {
			keys[i] = e.Address.String()
		}
	}
	if cfg.Policy == config.Maglev {
		return balance.NewMaglev(keys, shares, cfg.TableSize)
	}
	return balance.NewRingHash(keys, shares, cfg.MinRingSize, cfg.MaxRingSize)
}

// Hashes tells whether PickBy is asked, with a hash of Config.HashOn: then who has a hash does not call Pick.
func (c *Cluster) Hashes() bool { return len(c.Config.HashOn) > 0 && c.choice.Load().hashing != nil }

// PickBy chooses the endpoint of a hash; nil if there is none. Only if Hashes.
func (c *Cluster) PickBy(hash uint64) *Endpoint {
	leaf := c.leafOf(hash)
	return leaf.at(leaf.hashing.PickBy(hash))
}

// leafOf is where a hash leads.
func (c *Cluster) leafOf(hash uint64) *choice {
	ch := c.choice.Load()
	for ch.parts != nil {
		ch = c.down(ch, ch.hashing.PickBy(hash))
	}
	return ch
}

// PickTCP chooses an endpoint for a connection of a client at an address, which is all that there is to hash: the
// client of a unix socket has none.
func (c *Cluster) PickTCP(client netip.Addr) *Endpoint {
	if !c.Hashes() {
		return c.Pick()
	}
	hash, found := uint64(0), false
	for i := range c.Config.HashOn {
		if k := &c.Config.HashOn[i]; k.Kind == config.HashSourceAddress && client.IsValid() {
			hash, found = balance.Combine(hash, balance.HashAddress(client)), true
			if k.Terminal {
				break
			}
		}
	}
	if !found {
		return c.Pick()
	}
	return c.PickBy(hash)
}
