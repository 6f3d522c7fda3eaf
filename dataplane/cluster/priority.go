package cluster

// overprovisioning is Envoy's default factor, in percent: a priority has all of its load until less than 1/1.4 of it, 72 %,
// is healthy.
const overprovisioning = 140

// level is how many endpoints a priority has, how many of them drain, and how many are healthy. Those that drain count for
// nothing but in panic: a server that is taken out for a while is no failure (as Envoy has it since EDS can say so; measured).
type level struct{ all, draining, healthy int }

// counted are the endpoints of which the healthy are a share.
func (l level) counted() int { return l.all - l.draining }

// health is how much load a priority can take, in whole percents.
func (l level) health() int {
	if l.counted() == 0 {
		return 0
	}
	return min(100, overprovisioning*l.healthy/l.counted())
}

// panics tells whether fewer than so many percent are healthy; none of none is none.
func (l level) panics(threshold int) bool {
	return threshold > 0 && (l.counted() == 0 || l.healthy*100 < threshold*l.counted())
}

// spread gives each priority its share of the requests, in percents that sum to 100, and tells which are in panic: these
// use all of their endpoints, the healthy and the ill. threshold is in percent; 0 is never.
//
// It is Envoy's arithmetic, in whole numbers and cut off where it cuts them off:
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/panic_threshold
func spread(levels []level, threshold int) (shares []int, panicking []bool) {
	shares, panicking = make([]int, len(levels)), make([]bool, len(levels))
	total := 0
	for _, l := range levels {
		total += l.health()
	}
	total = min(100, total)
	allPanic := true
	for i, l := range levels {
		// As long as the priorities can take everything together, one that is in a bad way is spared, and not in panic.
		panicking[i] = total < 100 && l.panics(threshold)
		allPanic = allPanic && panicking[i]
	}
	switch {
	case allPanic:
		all := 0
		for _, l := range levels {
			all += l.all
		}
		distribute(shares, func(i int) int {
			if all == 0 {
				return 0
			}
			return 100 * levels[i].all / all
		})
	case total > 0:
		distribute(shares, func(i int) int { return levels[i].health() * 100 / total })
	default:
		// Nobody is there, and somebody must be asked in vain.
		shares[0] = 100
	}
	return shares, panicking
}

// distribute gives each what it wants as long as there is some; what rounding leaves goes to the first that wants any.
func distribute(shares []int, wants func(int) int) {
	left, first := 100, -1
	for i := range shares {
		want := wants(i)
		if want > 0 && first < 0 {
			first = i
		}
		shares[i] = min(left, want)
		left -= shares[i]
	}
	shares[max(0, first)] += left
}
