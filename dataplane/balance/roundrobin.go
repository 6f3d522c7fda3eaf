package balance

import (
	"math/rand/v2"
	"sync/atomic"
)

// maxStride is what the largest weight is scaled to. It bounds the length of a cycle: maxStride × n picks.
const maxStride = 65535

// roundRobin is a static-stride scheduler: each endpoint comes up in turn, and is passed over in such a share of the
// turns that the picks are in proportion to the weights, spread evenly. One atomic addition a turn is all its state.
// See https://github.com/grpc/proposal/blob/master/A58-client-side-weighted-round-robin-lb-policy.md
type roundRobin struct {
	// strides are the weights, scaled so that the largest is maxStride; nil if all are equal.
	strides []uint64
	n       uint64
	turn    atomic.Uint64
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
	var largest uint32
	equal := true
	for _, w := range weights {
		equal = equal && w == weights[0]
		largest = max(largest, w)
	}
	if !equal {
		p.strides = make([]uint64, len(weights))
		for i, w := range weights {
			// A weight far below the largest still comes up: at least 1.
			p.strides[i] = max(1, (uint64(w)*maxStride+uint64(largest)/2)/uint64(largest))
		}
	}
	p.turn.Store(rand.Uint64N(p.n * maxStride))
	return p
}

// Pick ends after at most n turns: an endpoint of the largest weight is never passed over.
func (p *roundRobin) Pick() int {
	for {
		turn := p.turn.Add(1)
		i := turn % p.n
		if p.strides == nil {
			return int(i)
		}
		round := turn / p.n
		stride := p.strides[i]
		// The offset keeps endpoints of one weight from being passed over in the same rounds.
		if (stride*round+maxStride/2*i)%maxStride >= maxStride-stride {
			return int(i)
		}
	}
}
