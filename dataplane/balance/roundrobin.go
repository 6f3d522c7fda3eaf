package balance

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// fullStride is the stride of a slot that is taken in each round. It is a power of two, so that arithmetic that wraps
// around stays right.
const fullStride = 1 << 32

// roundRobin is a static-stride scheduler: each slot comes up in turn, and is passed over in such a share of the rounds
// that the picks are in proportion to the weights, spread evenly. One atomic addition a turn is all its state.
// https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md (the scheduler is
// gRPC's static_stride_scheduler.cc)
//
// gRPC gives each endpoint one slot, so that one heavy endpoint makes all light ones be passed over nearly always: among
// 10,000 a pick may take thousands of turns. Here who weighs more than the mean has several slots, spread over the round.
// Then no slot weighs more than the mean, there are at most twice as many slots as endpoints, and so a pick takes two
// turns at most, on average.
type roundRobin struct {
	// Read-only after NewRoundRobin: slots is nil if all weigh the same.
	slots []slot
	n     uint64
	// What each request writes shares no cache line with what each reads.
	_    [64]byte
	turn atomic.Uint64
	_    [56]byte
}

type slot struct {
	// stride is the share of rounds in which the slot is taken, 1 to fullStride.
	stride   uint64
	endpoint uint32
	// phase is the sum of the strides before: so those that a round passes over are spread evenly over it.
	phase uint32
}

// NewRoundRobin takes each endpoint in turn, in proportion to the weights, each at least 1. The first turn is random,
// so that many proxies that start together do not all begin with the first endpoint.
func NewRoundRobin(weights []uint32) Picker {
	switch len(weights) {
	case 0:
		return none{}
	case 1:
		return single{}
	}
	p := &roundRobin{n: uint64(len(weights))}
	if !equal(weights) {
		p.slots = newSlots(weights)
		p.n = uint64(len(p.slots))
	}
	p.turn.Store(rand.Uint64() >> 1)
	return p
}

func equal(weights []uint32) bool {
	for _, w := range weights {
		if w != weights[0] {
			return false
		}
	}
	return true
}

func newSlots(weights []uint32) []slot {
	var total float64
	for _, w := range weights {
		total += float64(w)
	}
	mean := total / float64(len(weights))
	type placed struct {
		slot
		weight, at float64
	}
	var all []placed
	largest := 0.0
	for i, w := range weights {
		shares := math.Ceil(float64(w) / mean)
		weight := float64(w) / shares
		largest = max(largest, weight)
		// An endpoint's slots are evenly far from each other; where the first stands differs, lest all begin at once.
		_, first := math.Modf(float64(i) * math.Phi)
		for j := range int(shares) {
			all = append(all, placed{slot{endpoint: uint32(i)}, weight, (float64(j) + first) / shares})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	slots := make([]slot, len(all))
	var sum uint64
	for i, s := range all {
		// A weight far below the mean still comes up: at least 1.
		stride := max(1, uint64(math.Round(s.weight/largest*fullStride)))
		slots[i] = slot{stride: stride, endpoint: s.endpoint, phase: uint32(sum % fullStride)}
		sum += stride
	}
	return slots
}

// Pick ends: a slot of the largest weight is never passed over.
func (p *roundRobin) Pick() int {
	if p.slots == nil {
		return int(p.turn.Add(1) % p.n)
	}
	for {
		turn := p.turn.Add(1)
		s := &p.slots[turn%p.n]
		if (s.stride*(turn/p.n)+uint64(s.phase))%fullStride >= fullStride-s.stride {
			return int(s.endpoint)
		}
	}
}
