package cluster

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// TestPart: of a weight, as Envoy grows it.
func TestPart(t *testing.T) {
	even := config.SlowStart{Window: 10 * time.Second, Aggression: 1, MinWeight: 0.1}
	fast, slow, none := even, even, even
	fast.Aggression, slow.Aggression, none.MinWeight = 2, 0.5, 0
	for name, c := range map[string]struct {
		s    config.SlowStart
		age  time.Duration
		want float64
	}{
		"at once":            {even, 0, 0.1},
		"at once, no least":  {none, 0, 0.0001},
		"still the least":    {even, time.Second / 2, 0.1},
		"half":               {even, 5 * time.Second, 0.5},
		"almost":             {even, 9999 * time.Millisecond, 0.9999},
		"all":                {even, 10 * time.Second, 1},
		"long ago":           {even, time.Hour, 1},
		"a clock gone wrong": {even, -time.Hour, 0.1},
		"fast, quarter":      {fast, 2500 * time.Millisecond, 0.5},
		"slow, half":         {slow, 5 * time.Second, 0.25},
	} {
		if got := part(&c.s, c.age); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: got %g, want %g", name, got, c.want)
		}
	}
}

// TestSlowStart: a new endpoint's share grows by itself, and what makes it grow ends. The shares are those measured on
// Envoy, at these times.
func TestSlowStart(t *testing.T) {
	for name, policy := range map[string]config.Policy{"roundRobin": config.RoundRobin, "leastRequest": config.LeastRequest} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := settings(policy, 0, false)
				cfg.SlowStart = config.SlowStart{Window: 6 * time.Second, Aggression: 1, MinWeight: 0.1}
				list, names := built(site{0, "old", 0, 1, 0, 0, 1}, site{0, "new", 0, 1, 0, 0, 1})
				first := New(cfg, list[:1], nil)
				time.Sleep(7 * time.Second)
				synctest.Wait()
				c := New(cfg, list, first)
				first.Close()
				defer c.Close()
				began := time.Now()
				for _, at := range []struct {
					age  time.Duration
					want float64
				}{
					{0, 100 * .1 / 1.1}, {400 * time.Millisecond, 100 * .1 / 1.1}, {1500 * time.Millisecond, 20}, {2 * time.Second, 25},
					{4 * time.Second, 40}, {6 * time.Second, 50}, {time.Minute, 50},
				} {
					time.Sleep(time.Until(began.Add(at.age)))
					synctest.Wait()
					if got := drawn(c, names)["0new"]; math.Abs(got-at.want) > 1 {
						t.Errorf("after %s: got %.1f %%, want %.1f", at.age, got, at.want)
					}
				}
				// A failed check begins it anew; nothing else does.
				for why, want := range map[Illness]float64{Ejected: 50, FailedCheck: 100 * .1 / 1.1} {
					c.Endpoints[1].Fall(why)
					c.Refresh()
					time.Sleep(time.Minute)
					c.Endpoints[1].Recover(why)
					c.Refresh()
					if got := drawn(c, names)["0new"]; math.Abs(got-want) > 1 {
						t.Errorf("recovered of %d: got %.1f %%, want %.1f", why, got, want)
					}
					time.Sleep(10 * time.Second)
				}
			})
		})
	}
}

// Endpoints that begin together share by their weights, new or not; what is new in a heavy one is more than an old light one.
func TestSlowStartWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings(config.RoundRobin, 0, false)
		cfg.SlowStart = config.SlowStart{Window: 10 * time.Second, Aggression: 1, MinWeight: 0.1}
		list, names := built(site{0, "a", 0, 1, 0, 0, 1}, site{0, "b", 0, 1, 0, 0, 3}, site{0, "c", 0, 1, 0, 0, 4})
		first := New(cfg, list[:2], nil)
		if got := drawn(first, names)["0b"]; math.Abs(got-75) > 1 {
			t.Errorf("at the start: got %.1f %%, want 75", got)
		}
		time.Sleep(5 * time.Second)
		c := New(cfg, list, first)
		first.Close()
		defer c.Close()
		// .5 and 1.5 of those that came first, and a tenth of 4.
		for name, want := range map[string]float64{"0a": 50 / 2.4, "0b": 150 / 2.4, "0c": 40 / 2.4} {
			if got := drawn(c, names)[name]; math.Abs(got-want) > 1 {
				t.Errorf("%s: got %.1f %%, want %.1f", name, got, want)
			}
		}
	})
}

// A version that is closed makes no more choices; picks go on.
func TestCloseEndsSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := settings(config.RoundRobin, 0, false)
		cfg.SlowStart = config.SlowStart{Window: time.Minute, Aggression: 1}
		list, _ := built(site{0, "a", 0, 2, 0, 0, 1})
		c := New(cfg, list, nil)
		c.Close()
		// Whoever changes somebody's health may still call it.
		c.Refresh()
		before := c.choice.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.choice.Load() != before {
			t.Error("it goes on after Close")
		}
		if c.Pick() == nil {
			t.Error("got nobody")
		}
	})
}
