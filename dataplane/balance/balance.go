// Package balance chooses an endpoint: one file for each policy.
//
// In: the endpoints' weights, and for least request how busy each is. Out: an index. It must not know what an endpoint
// is, and takes no lock: everything is built off the request path and only read on it.
package balance

import "math/rand/v2"

// Picker chooses one of n endpoints. It is safe for concurrent use.
type Picker interface {
	// Pick is an index from 0 to n-1, or -1 if there is no endpoint.
	Pick() int
}

// none is the Picker over nothing.
type none struct{}

func (none) Pick() int { return -1 }

// single is the Picker over one endpoint.
type single struct{}

func (single) Pick() int { return 0 }

// weighted draws an index in proportion to the weights.
type weighted struct {
	// sums[i] is the sum of the weights 0 to i; nil if all are equal.
	sums  []uint64
	total uint64
	n     int
}

func newWeighted(weights []uint32) weighted {
	w := weighted{n: len(weights)}
	equal := true
	sums := make([]uint64, len(weights))
	for i, weight := range weights {
		equal = equal && weight == weights[0]
		w.total += uint64(weight)
		sums[i] = w.total
	}
	if !equal {
		w.sums = sums
	}
	return w
}

func (w *weighted) draw() int {
	if w.sums == nil {
		return rand.IntN(w.n)
	}
	r := rand.Uint64N(w.total)
	low, high := 0, len(w.sums)-1
	for low < high {
		mid := int(uint(low+high) >> 1)
		if w.sums[mid] > r {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}
