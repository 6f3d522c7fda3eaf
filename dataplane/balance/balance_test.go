package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// activity is endpoints with so many requests in flight each.
func activity(counts ...int64) []*atomic.Int64 {
	active := make([]*atomic.Int64, len(counts))
	for i, c := range counts {
		active[i] = &atomic.Int64{}
		active[i].Store(c)
	}
	return active
}

func shares(t *testing.T, p Picker, n, picks int) []float64 {
	t.Helper()
	counts := make([]int, n)
	for range picks {
		i := p.Pick()
		if i < 0 || i >= n {
			t.Fatalf("Pick() = %d, want 0 to %d", i, n-1)
		}
		counts[i]++
	}
	out := make([]float64, n)
	for i, c := range counts {
		out[i] = float64(c) / float64(picks)
	}
	return out
}

// repeated is n weights, the given ones over and over.
func repeated(n int, weights ...uint32) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = weights[i%len(weights)]
	}
	return out
}

var weightTables = map[string][]uint32{
	"equal":              {1, 1, 1},
	"equal ten":          {10, 10, 10},
	"two to one":         {2, 1},
	"90 to 10":           {90, 10},
	"primes":             {2, 3, 5, 7, 11},
	"hundred":            {100, 1, 1},
	"as big as they get": {math.MaxUint32, math.MaxUint32 / 2, 1},
	"seventeen":          repeated(17, 1, 2, 3),
	"a thousand":         repeated(1000, 1, 1, 1, 5),
	"one heavy of many":  append(repeated(999, 1), 999),
}

func TestPicksFollowWeights(t *testing.T) {
	for name, weights := range weightTables {
		var total float64
		for _, w := range weights {
			total += float64(w)
		}
		for policy, p := range map[string]Picker{
			"round robin":   NewRoundRobin(weights),
			"least request": NewLeastRequest(weights, 2, activity(make([]int64, len(weights))...)),
			"maglev":        NewMaglev(keys(len(weights)), Shares(weights), 65537),
		} {
			t.Run(policy+"/"+name, func(t *testing.T) {
				got := shares(t, p, len(weights), 200_000)
				for i, w := range weights {
					if want := float64(w) / total; math.Abs(got[i]-want) > 0.01 {
						t.Errorf("endpoint %d: got %.4f of the picks, want %.4f", i, got[i], want)
					}
				}
			})
		}
	}
}

// Round robin is not a lottery: at any time each endpoint has had its share of the picks, give or take a few. A lottery
// would be off by the root of the picks, hundreds here.
func TestRoundRobinIsSmooth(t *testing.T) {
	tables := map[string][]uint32{
		"ten thousand":         repeated(10_000, 1, 2, 3, 4, 5, 6, 7),
		"ten thousand, skewed": append(repeated(9_999, 1), 1_000_000),
		"one of each":          {1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
		"nearly equal":         {100, 101, 102},
	}
	for name, weights := range weightTables {
		tables[name] = weights
	}
	for name, weights := range tables {
		t.Run(name, func(t *testing.T) {
			var total float64
			for _, w := range weights {
				total += float64(w)
			}
			for range 2 {
				p := NewRoundRobin(weights)
				counts := make([]int, len(weights))
				worst, where := 0.0, 0
				const picks = 100_000
				for n := 1; n <= picks; n++ {
					i := p.Pick()
					counts[i]++
					if off := math.Abs(float64(counts[i]) - float64(n)*float64(weights[i])/total); off > worst {
						worst, where = off, i
					}
				}
				for i := range counts {
					if off := math.Abs(float64(counts[i]) - picks*float64(weights[i])/total); off > worst {
						worst, where = off, i
					}
				}
				if worst > 4 {
					t.Errorf("endpoint %d of weight %d: was %.1f picks off its share, want at most 4", where, weights[where], worst)
				}
				t.Logf("at most %.2f picks off", worst)
			}
		})
	}
}

// A pick takes two turns on average, whatever the weights.
func TestRoundRobinTurns(t *testing.T) {
	weights := append(repeated(9_999, 1), math.MaxUint32)
	for range 20 {
		weights = append(weights, rand.Uint32())
	}
	for _, weights := range [][]uint32{weights, append(repeated(9_999, 1), 3000), repeated(10_000, 1, 1000), {1, math.MaxUint32}} {
		p := NewRoundRobin(weights).(*roundRobin)
		if got, most := len(p.slots), 2*len(weights); got > most {
			t.Errorf("%d endpoints: got %d slots, want at most %d", len(weights), got, most)
		}
		start := p.turn.Load()
		const picks = 100_000
		for range picks {
			p.Pick()
		}
		if turns := float64(p.turn.Load()-start) / picks; turns > 2.01 {
			t.Errorf("%d endpoints: a pick took %.2f turns, want at most 2", len(weights), turns)
		}
	}
}

// In any cycle over equal endpoints each comes up once.
func TestRoundRobinIsEven(t *testing.T) {
	p := NewRoundRobin([]uint32{1, 1, 1, 1})
	for range 50 {
		seen := map[int]int{}
		for range 4 {
			seen[p.Pick()]++
		}
		for i := range 4 {
			if seen[i] != 1 {
				t.Fatalf("a cycle over four equal endpoints: got %v, want each once", seen)
			}
		}
	}
}

// Proxies that start together do not all begin with the same endpoint.
func TestRoundRobinBeginsAnywhere(t *testing.T) {
	for _, weights := range [][]uint32{repeated(100, 1), repeated(100, 1, 2)} {
		first := map[int]bool{}
		for range 100 {
			first[NewRoundRobin(weights).Pick()] = true
		}
		if len(first) < 20 {
			t.Errorf("100 proxies began with %d endpoints of 100, want many", len(first))
		}
	}
}

func TestNoneAndOne(t *testing.T) {
	for name, p := range map[string]Picker{
		"round robin":   NewRoundRobin(nil),
		"least request": NewLeastRequest(nil, 2, nil),
		"random":        NewRandom(0),
		"ring hash":     NewRingHash(nil, nil, 1024, 1024),
		"maglev":        NewMaglev(nil, nil, 7),
	} {
		if got := p.Pick(); got != -1 {
			t.Errorf("%s over nothing: got %d, want -1", name, got)
		}
	}
	for name, p := range map[string]Picker{
		"round robin":   NewRoundRobin([]uint32{7}),
		"least request": NewLeastRequest([]uint32{7}, 2, activity(3)),
		"random":        NewRandom(1),
		"ring hash":     NewRingHash(keys(1), Shares([]uint32{7}), 1024, 1024),
		"maglev":        NewMaglev(keys(1), Shares([]uint32{7}), 7),
	} {
		if got := p.Pick(); got != 0 {
			t.Errorf("%s of one endpoint: got %d, want 0", name, got)
		}
	}
}

func TestLeastRequestAvoidsTheBusy(t *testing.T) {
	p := NewLeastRequest([]uint32{1, 1, 1, 1}, 2, activity(100, 0, 0, 0))
	got := shares(t, p, 4, 100_000)
	// The busy one is taken only when both draws are it: 1/16.
	if math.Abs(got[0]-1.0/16) > 0.01 {
		t.Errorf("busy endpoint: got %.4f of the picks, want %.4f", got[0], 1.0/16)
	}
	p = NewLeastRequest([]uint32{1, 1}, 100, activity(100, 0))
	if got := shares(t, p, 2, 10_000); got[0] > 0.001 {
		t.Errorf("busy endpoint with 100 choices: got %.4f of the picks, want none", got[0])
	}
}

// Of different weights, picks follow weight / (active + 1), as with Envoy: exactly for few endpoints, nearly for many.
func TestLeastRequestDynamicWeights(t *testing.T) {
	for _, n := range []int{3, 16, 17, 600} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			weights := repeated(n, 1, 2, 3)
			counts := make([]int64, n)
			// By class of weight and of activity, since many endpoints get few picks each.
			type class struct {
				weight uint32
				active int64
			}
			want, got := map[class]float64{}, map[class]float64{}
			var total float64
			for i := range counts {
				counts[i] = int64(i%5) * 2
				share := float64(weights[i]) / float64(counts[i]+1)
				want[class{weights[i], counts[i]}] += share
				total += share
			}
			for i, share := range shares(t, NewLeastRequest(weights, 2, activity(counts...)), n, 200_000) {
				got[class{weights[i], counts[i]}] += share
			}
			tolerance := 0.005
			if n > candidates {
				tolerance = 0.02
			}
			for c, w := range want {
				if w /= total; math.Abs(got[c]-w) > tolerance {
					t.Errorf("endpoints of weight %d with %d requests: got %.4f of the picks, want %.4f", c.weight, c.active, got[c], w)
				}
			}
		})
	}
}

func TestPickDoesNotAllocate(t *testing.T) {
	for name, p := range benchPickers() {
		if n := testing.AllocsPerRun(100, func() { p.Pick() }); n != 0 {
			t.Errorf("%s: got %v allocations, want none", name, n)
		}
	}
}

// Picks of many goroutines are those of one: no turn is taken twice, or left out. They begin together and go on for tens of
// milliseconds, and count by themselves: else each would be done before the next begins, or wait for the counters, and a
// turn that is not taken atomically would pass.
func TestConcurrentPicks(t *testing.T) {
	for name, p := range map[string]Picker{
		"equal round robin": NewRoundRobin([]uint32{1, 1, 1}),
		"round robin":       NewRoundRobin([]uint32{5, 3, 1}),
	} {
		before := uint64(0)
		if p, ok := p.(*roundRobin); ok {
			before = p.turn.Load()
		}
		const goroutines, each = 4, 2_700_000
		start := make(chan struct{})
		var counts [3]atomic.Int64
		var wg sync.WaitGroup
		for range goroutines {
			wg.Go(func() {
				<-start
				var own [3]int64
				for range each {
					own[p.Pick()]++
				}
				for i := range own {
					counts[i].Add(own[i])
				}
			})
		}
		close(start)
		wg.Wait()
		if p, ok := p.(*roundRobin); ok && p.turn.Load()-before < goroutines*each {
			t.Errorf("%s: %d picks took %d turns", name, goroutines*each, p.turn.Load()-before)
		}
		if got := counts[0].Load(); name == "equal round robin" && got != goroutines*each/3 || name == "round robin" && math.Abs(float64(got-goroutines*each/9*5)) > 4 {
			t.Errorf("%s: the first of three got %d picks", name, got)
		}
	}
}

func benchPickers() map[string]Picker {
	return map[string]Picker{
		"round robin, 16 equal":         NewRoundRobin(repeated(16, 1)),
		"round robin, 8 weighted":       NewRoundRobin([]uint32{1, 2, 3, 4, 5, 6, 7, 8}),
		"round robin, 10000 weighted":   NewRoundRobin(repeated(10_000, 1, 2, 3)),
		"round robin, 10000 skewed":     NewRoundRobin(append(repeated(9_999, 1), 1_000_000)),
		"least request, 4 equal":        NewLeastRequest(repeated(4, 1), 2, activity(0, 0, 0, 0)),
		"least request, 10000 equal":    NewLeastRequest(repeated(10_000, 1), 2, activity(make([]int64, 10_000)...)),
		"least request, 4 weighted":     NewLeastRequest([]uint32{1, 2, 3, 4}, 2, activity(0, 0, 0, 0)),
		"least request, 10000 weighted": NewLeastRequest(repeated(10_000, 1, 2, 3), 2, activity(make([]int64, 10_000)...)),
		"random, 16":                    NewRandom(16),
		"ring hash, 16, 1024 points":    NewRingHash(keys(16), Shares(repeated(16, 1)), 1024, 1<<20),
		"ring hash, 10000, 1M points":   NewRingHash(keys(10_000), Shares(repeated(10_000, 1, 2, 3)), 1<<20, 1<<20),
		"maglev, 16":                    NewMaglev(keys(16), Shares(repeated(16, 1)), 65537),
		"maglev, 10000":                 NewMaglev(keys(10_000), Shares(repeated(10_000, 1, 2, 3)), 1_000_003),
	}
}

// Run it with -cpu 1,2,…: what is shared is one counter at most.
func BenchmarkPick(b *testing.B) {
	for name, p := range benchPickers() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p.Pick()
				}
			})
		})
	}
}

func BenchmarkNewRoundRobin(b *testing.B) {
	weights := repeated(10_000, 1, 2, 3, 100)
	for b.Loop() {
		NewRoundRobin(weights)
	}
}

func BenchmarkNewRingHash(b *testing.B) {
	names, weights := keys(100), repeated(100, 1, 2, 3)
	for b.Loop() {
		NewRingHash(names, Shares(weights), 1<<16, 1<<20)
	}
}

func BenchmarkNewMaglev(b *testing.B) {
	names, weights := keys(100), repeated(100, 1, 2, 3)
	for b.Loop() {
		NewMaglev(names, Shares(weights), 65537)
	}
}
