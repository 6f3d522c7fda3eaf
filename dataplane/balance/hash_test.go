package balance

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// keys are addresses, as endpoints are known by.
func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("10.0.%d.%d:8080", i/250, i%250+1)
	}
	return out
}

// both are the hashing policies over n endpoints.
func both(names []string, weights []uint32) map[string]Hashing {
	return map[string]Hashing{"ring hash": NewRingHash(names, Shares(weights), 1024, 1<<20), "maglev": NewMaglev(names, Shares(weights), 65537)}
}

// The hashes are xxHash's own: the first two are its test vectors, the others what Envoy was seen to do (e2e's scenarios
// hold both proxies to it).
func TestHashes(t *testing.T) {
	for text, want := range map[string]uint64{"": 0xef46db3751d8e999, "abc": 0x44bc2cf5ad770999} {
		if got := HashText(text); got != want {
			t.Errorf("HashText(%q) = %x, want %x", text, got, want)
		}
		if got := HashTexts([]string{text}); got != want {
			t.Errorf("HashTexts of %q alone = %x, want HashText's %x", text, got, want)
		}
	}
	if HashTexts([]string{"a", "b"}) == HashTexts([]string{"b", "a"}) {
		t.Error("HashTexts: got the same in another order")
	}
	for _, a := range []string{"192.0.2.1", "2001:db8::1"} {
		if got, want := HashAddress(netip.MustParseAddr(a)), HashText(a); got != want {
			t.Errorf("HashAddress(%s) = %x, want that of its text, %x", a, got, want)
		}
	}
	if HashAddress(netip.MustParseAddr("::ffff:192.0.2.1")) != HashText("192.0.2.1") {
		t.Error("HashAddress of IPv4 in IPv6: want that of IPv4")
	}
	if got := Combine(Combine(0, 1<<63|1), 4); got != 7 {
		t.Errorf("Combine: got %d, want 7: turned by one bit, the highest comes lowest", got)
	}
}

// The same hash gets the same endpoint, whatever the order of the endpoints in maglev, and whoever is asked.
func TestHashIsStable(t *testing.T) {
	names, weights := keys(20), repeated(20, 1, 2, 3)
	for policy, p := range both(names, weights) {
		again := both(names, weights)[policy]
		for n := range 10_000 {
			hash := HashText(fmt.Sprint(n))
			if a, b := p.PickBy(hash), again.PickBy(hash); a != b {
				t.Fatalf("%s: hash %x: got %d and %d, want the same", policy, hash, a, b)
			}
		}
	}
	reversed := slices.Clone(names)
	slices.Reverse(reversed)
	a, b := NewMaglev(names, Shares(repeated(20, 1)), 65537), NewMaglev(reversed, Shares(repeated(20, 1)), 65537)
	for n := range 10_000 {
		hash := HashText(fmt.Sprint(n))
		if x, y := names[a.PickBy(hash)], reversed[b.PickBy(hash)]; x != y {
			t.Fatalf("maglev, hash %x: got %s, in another order %s", hash, x, y)
		}
	}
}

// Without one of twenty endpoints, a key of another one stays where it is (ring hash: always; maglev: nearly always).
func TestHashFewKeysMove(t *testing.T) {
	names := keys(20)
	fewer := slices.Delete(slices.Clone(names), 7, 8)
	// A ring of whole points an endpoint, so that the others' are the same without the one.
	for policy, c := range map[string]struct {
		with, without Hashing
		most          float64
	}{
		"ring hash": {NewRingHash(names, Shares(repeated(20, 1)), 20*50, 1<<20), NewRingHash(fewer, Shares(repeated(19, 1)), 19*50, 1<<20), 0},
		"maglev":    {NewMaglev(names, Shares(repeated(20, 1)), 65537), NewMaglev(fewer, Shares(repeated(19, 1)), 65537), 0.05},
	} {
		const total = 20_000
		moved := 0
		for n := range total {
			hash := HashText(fmt.Sprint(n))
			before, after := names[c.with.PickBy(hash)], fewer[c.without.PickBy(hash)]
			if before != names[7] && before != after {
				moved++
			}
		}
		if share := float64(moved) / total; share > c.most {
			t.Errorf("%s: %.1f%% of the keys of other endpoints moved, want at most %.1f%%", policy, 100*share, 100*c.most)
		}
	}
}

// Each endpoint's part of the ring follows the weights, as far as its points are many.
func TestRingFollowsWeights(t *testing.T) {
	weights := []uint32{1, 2, 3, 10}
	ring := NewRingHash(keys(4), Shares(weights), 1<<18, 1<<20)
	for i, got := range shares(t, ring, 4, 400_000) {
		if want := float64(weights[i]) / 16; math.Abs(got-want) > 0.01 {
			t.Errorf("endpoint %d: got %.4f of the ring, want %.4f", i, got, want)
		}
	}
}

// A ring has whole points for the lightest, and never more than it may.
func TestRingSize(t *testing.T) {
	for _, c := range []struct {
		weights      []uint32
		least, most  uint32
		want, within int
	}{
		{[]uint32{1, 1, 1}, 1024, 1 << 20, 1026, 1},
		{[]uint32{1, 1, 1}, 1, 1 << 20, 3, 0},
		{[]uint32{1, 1, 1}, 2, 2, 2, 0},
		{[]uint32{1, 1023}, 1024, 1 << 20, 1024, 1},
		{[]uint32{1, 99_999}, 1024, 1 << 20, 100_000, 1},
		{[]uint32{1, 99_999}, 1024, 5000, 5000, 1},
	} {
		p := NewRingHash(keys(len(c.weights)), Shares(c.weights), c.least, c.most).(*ringHash)
		if got := len(p.hashes); got < c.want-c.within || got > c.want+c.within {
			t.Errorf("%v, %d to %d: got %d points, want %d", c.weights, c.least, c.most, got, c.want)
		}
		if !slices.IsSorted(p.hashes) || len(p.owners) != len(p.hashes) {
			t.Errorf("%v: the points are not in order, or not all owned", c.weights)
		}
	}
}

// The ends of the ring meet, and a hash that is a point's is that point's.
func TestRingEnds(t *testing.T) {
	p := NewRingHash(keys(5), Shares(repeated(5, 1)), 1024, 1<<20).(*ringHash)
	last := len(p.hashes) - 1
	for _, c := range []struct {
		hash uint64
		want uint32
	}{
		{0, p.owners[0]}, {p.hashes[0], p.owners[0]}, {p.hashes[0] + 1, p.owners[1]},
		{p.hashes[last], p.owners[last]}, {p.hashes[last] + 1, p.owners[0]}, {math.MaxUint64, p.owners[0]},
	} {
		if got := p.PickBy(c.hash); got != int(c.want) {
			t.Errorf("hash %x: got %d, want %d", c.hash, got, c.want)
		}
	}
}

// A pick finds the same point as a search of the whole ring, at every edge of its parts.
func TestRingParts(t *testing.T) {
	for _, size := range []uint32{2, 3, 5, 1024, 70_000} {
		p := NewRingHash(keys(2), Shares(repeated(2, 1)), size, size).(*ringHash)
		check := func(hash uint64) {
			i, _ := slices.BinarySearch(p.hashes, hash)
			if got, want := p.PickBy(hash), int(p.owners[i%len(p.owners)]); got != want {
				t.Fatalf("ring of %d: hash %x: got %d, want %d", size, hash, got, want)
			}
		}
		for part := range uint64(len(p.starts)) {
			check(part << p.shift)
			check(part<<p.shift - 1)
		}
		for _, hash := range p.hashes {
			check(hash - 1)
			check(hash)
			check(hash + 1)
		}
	}
}

// A table smaller than the endpoints is filled all the same.
func TestMaglevSmall(t *testing.T) {
	p := NewMaglev(keys(50), Shares(repeated(50, 1, 2)), 7).(maglev)
	seen := map[uint32]bool{}
	for _, owner := range p {
		if owner >= 50 || seen[owner] {
			t.Errorf("got owner %d again or out of range", owner)
		}
		seen[owner] = true
	}
	if len(p) != 7 {
		t.Errorf("got %d places, want 7", len(p))
	}
}

// Tables are read by many at once, and never written. The race detector is this test's eye.
func TestConcurrentHashing(t *testing.T) {
	for policy, p := range both(keys(20), repeated(20, 1, 2, 3)) {
		want := make([]int, 1000)
		for n := range want {
			want[n] = p.PickBy(HashText(fmt.Sprint(n)))
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for n := range want {
					if got := p.PickBy(HashText(fmt.Sprint(n))); got != want[n] {
						t.Errorf("%s: key %d: got %d, want %d", policy, n, got, want[n])
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestHashingDoesNotAllocate(t *testing.T) {
	texts := []string{"a", "b"}
	address := netip.MustParseAddr("2001:db8::1")
	for policy, p := range both(keys(20), repeated(20, 1, 2, 3)) {
		if n := testing.AllocsPerRun(100, func() {
			p.PickBy(Combine(HashText("abc"), Combine(HashTexts(texts), HashAddress(address))))
		}); n != 0 {
			t.Errorf("%s: got %v allocations, want none", policy, n)
		}
	}
}
