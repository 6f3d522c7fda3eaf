package balance

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// maglev is a table of owners: the place of a hash is its rest. It is read-only.
type maglev []uint32

// NewMaglev fills a table of size places, a prime number of at least 2, with the endpoints in proportion to their shares,
// which are more than 0.
// Each endpoint is known by its key.
//
// It is the table that Envoy fills, place for place: in rounds, in the order of the keys, each endpoint takes the next
// place of its own permutation that is free; the heaviest in each round, a lighter one in so many rounds as its weight
// is smaller. https://research.google/pubs/maglev-a-fast-and-reliable-software-network-load-balancer/ (3.4)
func NewMaglev(keys []string, shares []float64, size uint32) Hashing {
	switch len(keys) {
	case 0:
		return none{}
	case 1:
		return single{}
	}
	type builder struct {
		key   string
		owner uint32
		share float64
		// target is the weight from which on it is its turn again.
		target float64
		// at is its next place, and skip how far it is to the one after.
		at, skip uint64
	}
	n := uint64(size)
	most := slices.Max(shares)
	builders := make([]builder, len(keys))
	for i, key := range keys {
		builders[i] = builder{key: key, owner: uint32(i), share: shares[i], at: seeded(key, 0) % n, skip: seeded(key, 1)%(n-1) + 1}
	}
	slices.SortFunc(builders, func(a, b builder) int { return cmp.Compare(a.key, b.key) })
	const free = ^uint32(0)
	table := slices.Repeat(maglev{free}, int(n))
	for filled, round := uint64(0), uint32(1); filled < n; round++ {
		for i := range builders {
			b := &builders[i]
			if float64(round)*b.share < b.target {
				continue
			}
			b.target += most
			for table[b.at] != free {
				b.at = (b.at + b.skip) % n
			}
			table[b.at] = b.owner
			b.at = (b.at + b.skip) % n
			if filled++; filled == n {
				break
			}
		}
	}
	return table
}

func (p maglev) Pick() int { return p.PickBy(rand.Uint64()) }

func (p maglev) PickBy(hash uint64) int { return int(p[hash%uint64(len(p))]) }
