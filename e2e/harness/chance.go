package harness

import "slices"

// sharePoints is how far a share of the requests may be from the expected one, in points of a percentage.
const sharePoints = 8

// sureTimes is how many requests make sharePoints more than six standard deviations, whatever the share: 1,500 draws of
// an even coin have one of 1.3 points.
const sureTimes = 1500

// Surer returns the exchange with so many requests that chance cannot make its shares wrong; nil where none of it is up
// to chance, or where there are that many already. What a few hundred requests seem to get wrong is judged by these.
func (e *Exchange) Surer() *Exchange {
	if e.Times >= sureTimes || !e.Expect.chancy() && (e.Envoy == nil || !e.Envoy.chancy()) {
		return nil
	}
	surer := *e
	surer.Times = sureTimes
	surer.Expect = e.Expect.times(e.Times, sureTimes)
	if e.Envoy != nil {
		expect := e.Envoy.times(e.Times, sureTimes)
		surer.Envoy = &expect
	}
	return &surer
}

func (e *Expect) chancy() bool {
	return slices.ContainsFunc(e.Served, func(s Share) bool { return s.Count < 0 && s.Percent >= 0 })
}

// times returns what is expected of more requests: an upstream that gets each of them still does.
func (e *Expect) times(before, after int) Expect {
	more := *e
	more.Served = slices.Clone(e.Served)
	for i := range more.Served {
		if more.Served[i].Count == before {
			more.Served[i].Count = after
		}
	}
	return more
}
