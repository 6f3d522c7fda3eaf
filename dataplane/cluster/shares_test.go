package cluster

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/balance"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// policies are all of them, in a cluster that hashes on anything.
var policies = map[string]config.Policy{
	"roundRobin": config.RoundRobin, "leastRequest": config.LeastRequest, "random": config.Random, "ringHash": config.RingHash, "maglev": config.Maglev,
}

func settings(policy config.Policy, threshold uint32, localities bool) *config.Cluster {
	return &config.Cluster{
		Policy: policy, ChoiceCount: 2, MinRingSize: 1 << 16, MaxRingSize: 1 << 17, TableSize: 65537,
		PanicThreshold: threshold, LocalityWeighted: localities, HashOn: []config.HashKey{{Name: "x"}},
	}
}

// site is so many endpoints of one place.
type site struct {
	priority       uint32
	zone           string
	weight         uint32
	healthy, ill   int
	draining       int
	endpointWeight uint32
}

func (s site) String() string { return fmt.Sprintf("%d%s", s.priority, s.zone) }

// built are the endpoints of sites, with the name of each one's site; those of the ill end in "!", the draining in "~".
func built(sites ...site) (list []config.Endpoint, names map[config.Address]string) {
	names = map[config.Address]string{}
	for _, s := range sites {
		for i := range s.healthy + s.ill + s.draining {
			address := config.At(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(len(list) >> 8), byte(len(list))}), 80))
			e := config.Endpoint{
				Address: address, Weight: max(1, s.endpointWeight), Priority: s.priority,
				Locality: config.Locality{Zone: s.zone}, LocalityWeight: s.weight,
				Unhealthy: i >= s.healthy && i < s.healthy+s.ill, Draining: i >= s.healthy+s.ill,
			}
			names[address] = s.String()
			if e.Unhealthy {
				names[address] += "!"
			}
			if e.Draining {
				names[address] += "~"
			}
			list = append(list, e)
		}
	}
	return list, names
}

// TestShares: who gets how many percent of the requests, as Envoy 1.40 gave them (measured, with 400 to 2000 requests each).
func TestShares(t *testing.T) {
	all := []string{"roundRobin", "leastRequest", "random", "ringHash", "maglev"}
	plain, hashing := all[:3], all[3:]
	for name, c := range map[string]struct {
		policies   []string
		threshold  uint32
		localities bool
		sites      []site
		want       map[string]float64
	}{
		"failover":                       {all, 0, false, []site{{0, "", 0, 2, 3, 0, 1}, {1, "", 0, 5, 0, 0, 1}}, map[string]float64{"0": 56, "1": 44}},
		"nobody is healthy":              {all, 0, false, []site{{0, "", 0, 0, 3, 1, 1}, {1, "", 0, 0, 2, 0, 1}}, map[string]float64{"none": 100}},
		"panic":                          {all, 50, false, []site{{0, "", 0, 2, 3, 0, 1}, {1, "", 0, 1, 4, 0, 1}}, map[string]float64{"0": 20, "0!": 30, "1": 10, "1!": 40}},
		"panic takes the draining":       {all, 50, false, []site{{0, "", 0, 1, 2, 1, 1}}, map[string]float64{"0": 25, "0!": 50, "0~": 25}},
		"drained":                        {all, 50, false, []site{{0, "", 0, 1, 0, 2, 1}, {1, "", 0, 3, 0, 0, 1}}, map[string]float64{"0": 100}},
		"drained beside ill":             {all, 0, false, []site{{0, "", 0, 1, 1, 2, 1}, {1, "", 0, 3, 0, 0, 1}}, map[string]float64{"0": 70, "1": 30}},
		"zones, unused":                  {all, 0, false, []site{{0, "a", 1, 3, 0, 0, 1}, {0, "b", 3, 1, 0, 0, 1}}, map[string]float64{"0a": 75, "0b": 25}},
		"zones":                          {all, 0, true, []site{{0, "a", 1, 4, 0, 0, 1}, {0, "b", 3, 4, 0, 0, 1}}, map[string]float64{"0a": 25, "0b": 75}},
		"zones, whatever their size":     {all, 0, true, []site{{0, "a", 1, 9, 0, 0, 1}, {0, "b", 1, 1, 0, 0, 5}}, map[string]float64{"0a": 50, "0b": 50}},
		"a zone half healthy":            {plain, 0, true, []site{{0, "a", 1, 2, 2, 0, 1}, {0, "b", 1, 4, 0, 0, 1}}, map[string]float64{"0a": 100 * .7 / 1.7, "0b": 100 / 1.7}},
		"a zone half healthy, hashed":    {hashing, 0, true, []site{{0, "a", 1, 2, 2, 0, 1}, {0, "b", 1, 4, 0, 0, 1}}, map[string]float64{"0a": 50, "0b": 50}},
		"a zone that drains":             {plain, 0, true, []site{{0, "a", 1, 1, 1, 2, 1}, {0, "b", 1, 2, 0, 0, 1}}, map[string]float64{"0a": 100 * .7 / 1.7, "0b": 100 / 1.7}},
		"a zone without any":             {all, 0, true, []site{{0, "a", 1, 0, 4, 0, 1}, {0, "b", 3, 4, 0, 0, 1}, {0, "c", 1, 1, 0, 0, 1}}, map[string]float64{"0b": 75, "0c": 25}},
		"a zone of weight 0":             {all, 0, true, []site{{0, "a", 1, 4, 0, 0, 1}, {0, "b", 0, 4, 0, 0, 1}}, map[string]float64{"0a": 100}},
		"only weight 0 is left":          {plain, 0, true, []site{{0, "a", 1, 0, 4, 0, 1}, {0, "b", 0, 4, 0, 0, 1}}, map[string]float64{"0b": 100}},
		"only weight 0 is left, hashed":  {hashing, 0, true, []site{{0, "a", 1, 0, 4, 0, 1}, {0, "b", 0, 4, 0, 0, 1}}, map[string]float64{"none": 100}},
		"no weights":                     {plain, 0, true, []site{{0, "a", 0, 4, 0, 0, 1}, {0, "b", 0, 2, 0, 0, 1}}, map[string]float64{"0a": 200. / 3, "0b": 100. / 3}},
		"no weights, hashed":             {hashing, 0, true, []site{{0, "a", 0, 4, 0, 0, 1}, {0, "b", 0, 2, 0, 0, 1}}, map[string]float64{"none": 100}},
		"zones in panic":                 {plain, 50, true, []site{{0, "a", 1, 1, 3, 0, 1}, {0, "b", 3, 1, 3, 0, 1}}, map[string]float64{"0a": 12.5, "0a!": 37.5, "0b": 12.5, "0b!": 37.5}},
		"zones in panic, hashed":         {hashing, 50, true, []site{{0, "a", 1, 1, 3, 0, 1}, {0, "b", 3, 0, 4, 0, 1}}, map[string]float64{"0a": 6.25, "0a!": 18.75, "0b!": 75}},
		"zones of priorities":            {plain, 0, true, []site{{0, "a", 1, 1, 3, 0, 1}, {0, "b", 1, 2, 2, 0, 1}, {1, "a", 1, 2, 0, 0, 1}, {1, "b", 3, 2, 0, 0, 1}}, map[string]float64{"0a": 52 / 3., "0b": 104 / 3., "1a": 12, "1b": 36}},
		"a locality in which none drain": {plain, 0, true, []site{{0, "a", 7, 3, 0, 0, 1}}, map[string]float64{"0a": 100}},
	} {
		for _, policy := range c.policies {
			t.Run(name+"/"+policy, func(t *testing.T) {
				list, names := built(c.sites...)
				got := drawn(New(settings(policies[policy], c.threshold, c.localities), list, nil), names)
				for site, want := range c.want {
					// A ring of 65536 points and this many requests are even to about this.
					if math.Abs(got[site]-want) > 1.6 {
						t.Errorf("%s: got %.1f %%, want %.1f", site, got[site], want)
					}
					delete(got, site)
				}
				if len(got) > 0 {
					t.Errorf("got %v too", got)
				}
			})
		}
	}
}

// drawn are the shares of sites in percent, of requests with hashes if the cluster hashes.
func drawn(c *Cluster, names map[config.Address]string) map[string]float64 {
	return drawnOf(40_000, c, names)
}

func drawnOf(requests int, c *Cluster, names map[config.Address]string) map[string]float64 {
	part := 100 / float64(requests)
	got := map[string]float64{}
	for range requests {
		var e *Endpoint
		if c.Hashes() {
			e = c.PickBy(rand.Uint64())
		} else {
			e = c.Pick()
		}
		if e == nil {
			got["none"] += part
		} else {
			got[names[e.Address]] += part
		}
	}
	return got
}

// A hash that goes to a priority goes there as in Envoy: its rest by 100 counts.
func TestHashChoosesPriority(t *testing.T) {
	list, names := built(site{0, "", 0, 1, 3, 0, 1}, site{1, "", 0, 4, 0, 0, 1})
	c := New(settings(config.Maglev, 0, false), list, nil)
	for hash := range uint64(1000) {
		want := "1"
		if hash%100 < 35 {
			want = "0"
		}
		if got := names[c.PickBy(hash).Address]; got != want {
			t.Fatalf("hash %d: got priority %s, want %s", hash, got, want)
		}
	}
}

// A key that is sent again stays in its priority.
func TestPickAgainByStaysInPriority(t *testing.T) {
	list, names := built(site{0, "", 0, 2, 2, 0, 1}, site{1, "", 0, 4, 0, 0, 1})
	c := New(settings(config.Maglev, 0, false), list, nil)
	for hash := range uint64(1000) {
		first := c.PickBy(hash)
		again := c.PickAgainBy(hash, []*Endpoint{first}, 5)
		if again == first && names[first.Address] == "1" || names[again.Address] != names[first.Address] {
			t.Fatalf("hash %d: got %s of %s, and then %s of %s", hash, first.Address, names[first.Address], again.Address, names[again.Address])
		}
	}
}

// Panic is counted, pick by pick, and only then.
func TestPanicIsCounted(t *testing.T) {
	list, _ := built(site{0, "", 0, 1, 4, 0, 1})
	for threshold, want := range map[uint32]int64{0: 0, 20: 0, 21: 100} {
		c := New(settings(config.RoundRobin, threshold, false), list, nil)
		for range 100 {
			c.Pick()
		}
		if got := c.Stats.PanicPicks.Load(); got != want {
			t.Errorf("threshold %d: got %d panic picks, want %d", threshold, got, want)
		}
	}
}

// What EDS says comes and goes with the versions of a cluster.
func TestTold(t *testing.T) {
	list, names := built(site{0, "a", 0, 2, 1, 1, 1})
	cfg := settings(config.RoundRobin, 0, false)
	c := New(cfg, list, nil)
	if got := drawn(c, names); got["0a"] < 99 {
		t.Errorf("got %v, want the healthy alone", got)
	}
	for i := range list {
		list[i].Unhealthy, list[i].Draining = false, false
	}
	if got := drawn(New(cfg, list, c), names); got["0a!"] < 24 || got["0a~"] < 24 {
		t.Errorf("got %v, want all", got)
	}
}

// Health changes under load: every request finds somebody, since somebody is always healthy.
func TestRefreshUnderLoad(t *testing.T) {
	list, _ := built(site{0, "a", 1, 3, 0, 0, 1}, site{0, "b", 2, 3, 0, 0, 1}, site{1, "a", 1, 2, 0, 0, 1})
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			cfg := settings(policy, 0, true)
			cfg.MinRingSize, cfg.MaxRingSize, cfg.TableSize = 64, 128, 211
			c := New(cfg, list, nil)
			var group sync.WaitGroup
			done := make(chan struct{})
			for range 4 {
				group.Go(func() {
					for {
						select {
						case <-done:
							return
						default:
						}
						e := c.Pick()
						if c.Hashes() {
							e = c.PickBy(rand.Uint64())
						}
						if e == nil {
							t.Error("got nobody")
							return
						}
						e.Active.Add(1)
						e.Active.Add(-1)
					}
				})
			}
			for range 300 {
				// The last of priority 1 stays.
				e := c.Endpoints[rand.IntN(len(c.Endpoints)-1)]
				if !e.Fall(FailedCheck) {
					e.Recover(FailedCheck)
				}
				c.Refresh()
			}
			close(done)
			group.Wait()
		})
	}
}

// FuzzShares: whatever there is, the requests are shared by the rules: here they are written down once more, as a table of
// what each endpoint should have.
func FuzzShares(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		var sites []site
		for p := range 1 + r.IntN(3) {
			for z := range 1 + r.IntN(3) {
				sites = append(sites, site{
					uint32(p), string(rune('a' + z)), uint32(r.IntN(4)), r.IntN(4), r.IntN(4), r.IntN(2), 1 + uint32(r.IntN(5)),
				})
			}
		}
		if r.IntN(2) == 0 {
			// As a control plane sends them: one weight of all.
			for i := range sites {
				sites[i].weight = 1
			}
		}
		list, names := built(sites...)
		cfg := settings(config.RoundRobin, uint32(r.IntN(101)), r.IntN(2) == 0)
		// Priorities are drawn by lot, and among thousands of runs one is 1 % off: that is looked at again, and closer.
		got, want, most := drawn(New(cfg, list, nil), names), expected(cfg, sites), 1.
		for name, share := range got {
			if math.Abs(share-want[name]) > most {
				got, most = drawnOf(640_000, New(cfg, list, nil), names), 0.5
				break
			}
		}
		for _, s := range sites {
			for _, name := range []string{s.String(), s.String() + "!", s.String() + "~"} {
				if math.Abs(got[name]-want[name]) > most {
					t.Errorf("%s: got %.1f %%, want %.1f; threshold %d, %v, %+v", name, got[name], want[name], cfg.PanicThreshold, cfg.LocalityWeighted, sites)
				}
			}
		}
	})
}

func expected(cfg *config.Cluster, sites []site) map[string]float64 {
	levels := make([]level, sites[len(sites)-1].priority+1)
	for _, s := range sites {
		l := &levels[s.priority]
		l.all, l.healthy, l.draining = l.all+s.healthy+s.ill+s.draining, l.healthy+s.healthy, l.draining+s.draining
	}
	shares, panicking := spread(levels, int(cfg.PanicThreshold))
	want := map[string]float64{}
	for p, share := range shares {
		effective, weights := map[string]float64{}, 0.
		for _, s := range sites {
			if s.priority == uint32(p) && s.healthy > 0 {
				effective[s.zone] = float64(s.weight) * min(1, 1.4*float64(s.healthy)/float64(s.healthy+s.ill))
				weights += effective[s.zone]
			}
		}
		byLocality := cfg.LocalityWeighted && weights > 0 && !panicking[p]
		total := 0.
		for _, s := range sites {
			if s.priority != uint32(p) {
				continue
			}
			part := func(count int) float64 {
				switch {
				case count == 0:
					return 0
				case byLocality:
					return effective[s.zone] * float64(count) / float64(s.healthy)
				}
				return float64(s.endpointWeight) * float64(count)
			}
			want[s.String()] = part(s.healthy)
			total += part(s.healthy)
			if panicking[p] {
				want[s.String()+"!"], want[s.String()+"~"] = part(s.ill), part(s.draining)
				total += part(s.ill) + part(s.draining)
			}
		}
		for _, s := range sites {
			if s.priority == uint32(p) && total > 0 {
				for _, name := range []string{s.String(), s.String() + "!", s.String() + "~"} {
					want[name] *= float64(share) / total
				}
			}
		}
	}
	return want
}

// BenchmarkPick is what a pick costs: alone, and with what stands above it.
func BenchmarkPick(b *testing.B) {
	for name, c := range map[string]struct {
		localities bool
		sites      []site
	}{
		"one priority":   {false, []site{{0, "", 1, 16, 0, 0, 1}}},
		"two priorities": {false, []site{{0, "", 1, 8, 8, 0, 1}, {1, "", 1, 16, 0, 0, 1}}},
		"three zones":    {true, []site{{0, "a", 1, 5, 0, 0, 1}, {0, "b", 2, 5, 0, 0, 1}, {0, "c", 2, 6, 0, 0, 1}}},
	} {
		list, _ := built(c.sites...)
		for policy, p := range policies {
			b.Run(name+"/"+policy, func(b *testing.B) {
				cluster := New(settings(p, 0, c.localities), list, nil)
				hash := balance.HashText("x")
				b.ReportAllocs()
				for b.Loop() {
					if cluster.Hashes() {
						cluster.PickBy(hash)
					} else {
						cluster.Pick()
					}
				}
			})
		}
	}
}
