package balance

import (
	"cmp"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// ringHash is a ring of points, each an endpoint's. It is read-only.
type ringHash struct {
	// hashes are where the points are, in order; owners, beside it, are whose they are. In two lists, since a search reads
	// the one only.
	hashes []uint64
	owners []uint32
	// starts are the first points of so many equal parts of the ring, about four points each, and its end: a search of
	// a million points is of a few, in one place of memory. shift leaves of a hash the number of its part.
	starts []uint32
	shift  int
}

// NewRingHash places endpoints on a ring of about minSize points, and more where the weights ask for it, but at most
// maxSize; both are at least 1. Each endpoint is known by its key, and has points in proportion to its share, which is more
// than 0.
//
// It is the ring that Envoy builds, point for point (ketama's, with xxHash): the least of the weights gets a whole number
// of points, the others as many as keep the running sum right; a point is the hash of key_0, key_1 and so on.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#ring-hash
func NewRingHash(keys []string, shares []float64, minSize, maxSize uint32) Hashing {
	switch len(keys) {
	case 0:
		return none{}
	case 1:
		return single{}
	}
	least := slices.Min(shares)
	scale := min(math.Ceil(least*float64(minSize))/least, float64(maxSize))
	type point struct {
		hash  uint64
		owner uint32
	}
	ring := make([]point, 0, int(math.Ceil(scale))+1)
	var text []byte
	target := 0.0
	for i, key := range keys {
		// The conversion keeps Go from fusing the two steps where a processor could: the sum would round otherwise.
		target += float64(scale * shares[i])
		text = append(append(text[:0], key...), '_')
		for n := 0; float64(len(ring)) < target; n++ {
			ring = append(ring, point{xxhash.Sum64(strconv.AppendInt(text, int64(n), 10)), uint32(i)})
		}
	}
	slices.SortFunc(ring, func(a, b point) int { return cmp.Compare(a.hash, b.hash) })
	p := &ringHash{hashes: make([]uint64, len(ring)), owners: make([]uint32, len(ring))}
	for i, at := range ring {
		p.hashes[i], p.owners[i] = at.hash, at.owner
	}
	p.divide()
	return p
}

// divide finds where the parts of the ring start.
func (p *ringHash) divide() {
	width := max(1, bits.Len(uint(len(p.hashes)))-2)
	p.shift = 64 - width
	p.starts = make([]uint32, 1<<width+1)
	at := 0
	for part := range p.starts {
		for at < len(p.hashes) && p.hashes[at]>>p.shift < uint64(part) {
			at++
		}
		p.starts[part] = uint32(at)
	}
}

// Shares is the weights as shares of their sum.
func Shares(weights []uint32) []float64 {
	var sum uint64
	for _, w := range weights {
		sum += uint64(w)
	}
	shares := make([]float64, len(weights))
	for i, w := range weights {
		shares[i] = float64(w) / float64(sum)
	}
	return shares
}

func (p *ringHash) Pick() int { return p.PickBy(rand.Uint64()) }

// PickBy takes the first point that is not before the hash; after the last comes the first.
func (p *ringHash) PickBy(hash uint64) int { return int(p.owners[p.find(hash)]) }

func (p *ringHash) find(hash uint64) int {
	part := hash >> p.shift
	low, high := int(p.starts[part]), int(p.starts[part+1])
	for low < high {
		middle := int(uint(low+high) >> 1)
		if p.hashes[middle] < hash {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == len(p.hashes) {
		low = 0
	}
	return low
}
