// Package balance chooses an endpoint: one file for each policy.
//
// In: the endpoints' weights, for least request how busy each is, and for those that hash, their keys. Out: an index. It must not know what an endpoint
// is, and takes no lock: everything is built off the request path and only read on it.
package balance

import (
	"math"
	"math/bits"
	"math/rand/v2"
)

// Picker chooses one of n endpoints. It is safe for concurrent use.
type Picker interface {
	// Pick is an index from 0 to n-1, or -1 if there is no endpoint.
	Pick() int
}

// Hashing is a Picker whose choice a hash can make: the same hash gets the same endpoint, in every proxy that has the
// same endpoints, of either kind. Pick is for who has no hash: any endpoint.
type Hashing interface {
	Picker
	// PickBy is an index from 0 to n-1, or -1 if there is no endpoint.
	PickBy(hash uint64) int
}

// none is the Picker over nothing.
type none struct{}

func (none) Pick() int         { return -1 }
func (none) PickBy(uint64) int { return -1 }

// single is the Picker over one endpoint.
type single struct{}

func (single) Pick() int         { return 0 }
func (single) PickBy(uint64) int { return 0 }

// weighted draws an index in proportion to the weights, by Walker's alias method as Vose makes its table: whatever their
// number, one random number and one look. https://www.keithschwarz.com/darts-dice-coins/
type weighted struct{ columns []column }

// column is one n-th of the chances: a part of it is its own index's, the rest is another's.
type column struct {
	// own is the part, of 2^64.
	own   uint64
	other uint32
}

func newWeighted(weights []uint32) weighted {
	var total uint64
	for _, weight := range weights {
		total += uint64(weight)
	}
	columns := make([]column, len(weights))
	// parts are in columns; who has less than one gets the rest from who has more.
	parts := make([]float64, len(weights))
	var less, more []int
	for i, weight := range weights {
		parts[i] = float64(weight) / float64(total) * float64(len(weights))
		if parts[i] < 1 {
			less = append(less, i)
		} else {
			more = append(more, i)
		}
	}
	for len(less) > 0 && len(more) > 0 {
		i, giver := less[len(less)-1], more[len(more)-1]
		less = less[:len(less)-1]
		columns[i] = column{own: uint64(max(0, parts[i]) * (1 << 64)), other: uint32(giver)}
		if parts[giver] -= 1 - parts[i]; parts[giver] < 1 {
			more = more[:len(more)-1]
			less = append(less, giver)
		}
	}
	// What is left has one column each, rounding aside.
	for _, i := range append(less, more...) {
		columns[i] = column{own: math.MaxUint64, other: uint32(i)}
	}
	return weighted{columns}
}

func (w *weighted) draw() int {
	i, part := bits.Mul64(rand.Uint64(), uint64(len(w.columns)))
	if c := &w.columns[i]; part >= c.own {
		return int(c.other)
	}
	return int(i)
}
