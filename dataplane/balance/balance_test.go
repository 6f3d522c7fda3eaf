package balance

import (
	"math"
	"sync"
	"testing"
)

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

var weightTables = map[string][]uint32{
	"equal":      {1, 1, 1},
	"equal ten":  {10, 10, 10},
	"two to one": {2, 1},
	"90 to 10":   {90, 10},
	"primes":     {2, 3, 5, 7, 11},
	"hundred":    {100, 1, 1},
}

func TestPicksFollowWeights(t *testing.T) {
	for name, weights := range weightTables {
		var total float64
		for _, w := range weights {
			total += float64(w)
		}
		idle := func(int) int64 { return 0 }
		for policy, p := range map[string]Picker{
			"round robin":   NewRoundRobin(weights),
			"least request": NewLeastRequest(weights, 2, idle),
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

// Round robin is not a lottery: in any cycle each endpoint gets its share, give or take one.
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
	p = NewRoundRobin([]uint32{3, 1})
	counts := [2]int{}
	for range 400 {
		counts[p.Pick()]++
	}
	if counts[0] < 298 || counts[0] > 302 {
		t.Errorf("weights 3 and 1: got %v of 400, want 300 and 100", counts)
	}
}

func TestNoneAndOne(t *testing.T) {
	for name, p := range map[string]Picker{
		"round robin":   NewRoundRobin(nil),
		"least request": NewLeastRequest(nil, 2, nil),
	} {
		if got := p.Pick(); got != -1 {
			t.Errorf("%s over nothing: got %d, want -1", name, got)
		}
	}
	if got := NewRoundRobin([]uint32{7}).Pick(); got != 0 {
		t.Errorf("one endpoint: got %d, want 0", got)
	}
}

func TestLeastRequestAvoidsTheBusy(t *testing.T) {
	busy := []int64{100, 0, 0, 0}
	p := NewLeastRequest([]uint32{1, 1, 1, 1}, 2, func(i int) int64 { return busy[i] })
	got := shares(t, p, 4, 100_000)
	// The busy one is taken only when both draws are it: 1/16.
	if math.Abs(got[0]-1.0/16) > 0.01 {
		t.Errorf("busy endpoint: got %.4f of the picks, want %.4f", got[0], 1.0/16)
	}
	p = NewLeastRequest([]uint32{1, 1}, 100, func(i int) int64 { return busy[i] })
	if got := shares(t, p, 2, 10_000); got[0] > 0.001 {
		t.Errorf("busy endpoint with 100 choices: got %.4f of the picks, want none", got[0])
	}
}

func TestConcurrentPicks(t *testing.T) {
	p := NewRoundRobin([]uint32{5, 3, 1})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10_000 {
				if i := p.Pick(); i < 0 || i > 2 {
					panic(i)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkPick(b *testing.B) {
	for name, p := range map[string]Picker{
		"round robin equal":    NewRoundRobin(make([]uint32, 16)),
		"round robin weighted": NewRoundRobin([]uint32{1, 2, 3, 4, 5, 6, 7, 8}),
		"least request":        NewLeastRequest([]uint32{1, 1, 1, 1}, 2, func(int) int64 { return 0 }),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Pick()
			}
		})
	}
}
