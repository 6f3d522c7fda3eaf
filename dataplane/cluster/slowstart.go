package cluster

import (
	"math"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// epoch is what times are counted from: a clock that only goes forward.
var epoch = time.Now()

// The steps in which a weight grows: so many of a window, but none shorter or longer than these. Envoy's weights grow with
// every pick; these do off the path of requests.
const (
	stepsOfWindow = 100
	shortestStep  = 20 * time.Millisecond
	longestStep   = time.Second
)

// part is how much of its weight an endpoint has at an age.
func part(s *config.SlowStart, age time.Duration) float64 {
	if age >= s.Window {
		return 1
	}
	// Envoy counts in milliseconds, and from 1 on.
	grown := float64(max(age, time.Millisecond)) / float64(s.Window)
	if s.Aggression != 1 {
		grown = math.Pow(grown, 1/s.Aggression)
	}
	return min(1, max(grown, s.MinWeight))
}

// eased are endpoints' weights, those of the new ones smaller. If none is new they are the weights themselves.
func (c *Cluster) eased(members []int, weights []uint32) []uint32 {
	s := &c.Config.SlowStart
	if s.Window == 0 {
		return weights
	}
	now := time.Since(epoch)
	parts := make([]float64, len(weights))
	anyNew, most := false, 0.0
	for at, i := range members {
		p := part(s, now-time.Duration(c.Endpoints[i].since.Load()))
		anyNew = anyNew || p < 1
		parts[at] = p * float64(weights[at])
		most = max(most, parts[at])
	}
	if !anyNew {
		return weights
	}
	// Fine enough for the smallest part, and far from overflow.
	const fine = 1 << 24
	eased := make([]uint32, len(weights))
	for at, p := range parts {
		eased[at] = max(1, uint32(p/most*fine+0.5))
	}
	return eased
}

// schedule looks anew in a while if somebody is new. c.mu is held.
func (c *Cluster) schedule() {
	if c.timer != nil {
		c.timer.Stop()
	}
	window := c.Config.SlowStart.Window
	if window == 0 || c.closed {
		return
	}
	now := time.Since(epoch)
	for _, e := range c.Endpoints {
		if e.Healthy() && now-time.Duration(e.since.Load()) < window {
			c.timer = time.AfterFunc(min(longestStep, max(shortestStep, window/stepsOfWindow)), c.refresh)
			return
		}
	}
}

// Close ends what goes on by itself. Who has the cluster still may pick from it.
func (c *Cluster) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
}
