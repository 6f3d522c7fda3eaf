package balance

// leastRequest is the power of choices: of some endpoints drawn at random, the least busy.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#weighted-least-request
type leastRequest struct {
	weights []uint32
	drawing weighted
	choices int
	active  func(i int) int64
}

// NewLeastRequest draws choices endpoints (at least 1) in proportion to the weights, and takes the one with the fewest
// requests in flight for its weight. active tells how many endpoint i has; it is called on the request path.
func NewLeastRequest(weights []uint32, choices int, active func(i int) int64) Picker {
	switch len(weights) {
	case 0:
		return none{}
	case 1:
		return single{}
	}
	return &leastRequest{weights: weights, drawing: newWeighted(weights), choices: max(1, choices), active: active}
}

// Pick compares the requests in flight per weight, a/wa < b/wb, without a division.
func (p *leastRequest) Pick() int {
	best := p.drawing.draw()
	bestActive := p.active(best)
	for range p.choices - 1 {
		i := p.drawing.draw()
		if i == best {
			continue
		}
		active := p.active(i)
		// Equal loads keep the first draw, so that an idle cluster is used in proportion to the weights.
		if active*int64(p.weights[best]) < bestActive*int64(p.weights[i]) {
			best, bestActive = i, active
		}
	}
	return best
}
