package balance

import (
	"math/rand/v2"
	"sync/atomic"
)

// Which of two algorithms is at work depends on the weights, as with Envoy:
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#weighted-least-request

// NewLeastRequest prefers endpoints with few requests in flight. active tells how many each has; it is read on the
// request path.
//
// Of equal weights it draws choices endpoints (at least 1), and takes the one with the fewest: the power of two choices.
// Of different weights, choices does not count: an endpoint is picked in proportion to weight / (active + 1), Envoy's
// dynamic weight (active_request_bias 1). Envoy reaches that share by a schedule under each worker's own hand; here, where
// many goroutines pick at once, by a draw.
func NewLeastRequest(weights []uint32, choices int, active []*atomic.Int64) Picker {
	switch {
	case len(weights) == 0:
		return none{}
	case len(weights) == 1:
		return single{}
	case equal(weights):
		return &leastRequest{choices: max(1, choices), active: active}
	case len(weights) <= candidates:
		return &weightedFew{weights: weights, active: active}
	default:
		return &weightedMany{drawing: newWeighted(weights), active: active}
	}
}

// leastRequest is for equal weights.
type leastRequest struct {
	choices int
	active  []*atomic.Int64
}

func (p *leastRequest) Pick() int {
	best := rand.IntN(len(p.active))
	bestActive := p.active[best].Load()
	for range p.choices - 1 {
		i := rand.IntN(len(p.active))
		if active := p.active[i].Load(); active < bestActive {
			best, bestActive = i, active
		}
	}
	return best
}

// candidates is how many endpoints are looked at for a pick among different weights.
const candidates = 16

// weightedFew looks at all endpoints.
type weightedFew struct {
	weights []uint32
	active  []*atomic.Int64
}

func (p *weightedFew) Pick() int {
	var shares [candidates]float64
	for i, w := range p.weights {
		shares[i] = float64(w) / float64(p.active[i].Load()+1)
	}
	return draw(shares[:len(p.weights)])
}

// weightedMany draws candidates by their weights, and one of these by 1 / (active + 1). With few candidates the result
// lies between the weights and the dynamic weights (of 16, within a few percent of the latter), and the cost does not
// grow with the number of endpoints.
type weightedMany struct {
	drawing weighted
	active  []*atomic.Int64
}

func (p *weightedMany) Pick() int {
	var drawn [candidates]int
	var shares [candidates]float64
	for i := range drawn {
		drawn[i] = p.drawing.draw()
		shares[i] = 1 / float64(p.active[drawn[i]].Load()+1)
	}
	return drawn[draw(shares[:])]
}

// draw is an index in proportion to the shares, of which there is at least one.
func draw(shares []float64) int {
	var total float64
	for _, s := range shares {
		total += s
	}
	at := rand.Float64() * total
	for i, s := range shares {
		if at -= s; at < 0 {
			return i
		}
	}
	return len(shares) - 1
}
