package server

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"
)

// All tests of this room share names early.
func init() { leastShared, mostOwn, leastFresh = 2, 1, 2 }

// TestShared: a subscription that shares its names answers every request as one that does not.
func TestShared(t *testing.T) {
	all := []string{"*"}
	for i := range 12 {
		all = append(all, fmt.Sprint("n", i))
	}
	some := func() (list []string) {
		for range rand.IntN(8) {
			list = append(list, all[rand.IntN(len(all))])
		}
		return list
	}
	for range 300 {
		isDelta, legacy := rand.IntN(2) == 0, rand.IntN(2) == 0
		var own, sharing subscription
		var last []string
		for step := range 40 {
			var want, got change
			switch {
			case isDelta:
				add, remove := some(), some()
				want, got = own.update(add, remove, legacy), sharing.update(add, remove, legacy)
			default:
				if rand.IntN(3) > 0 { // an ACK names the same again
					last = some()
				}
				want, got = own.set(last, legacy), sharing.set(last, legacy)
			}
			if rand.IntN(2) == 0 {
				sharing.share()
			}
			if !reflect.DeepEqual(got, want) || own.String() != sharing.String() || own.count() != sharing.count() || sharing.count() != len(slices.Collect(sharing.each)) ||
				own.empty() != sharing.empty() || own.id != sharing.id {
				t.Fatalf("step %d: got %+v and %s (%d), want %+v and %s (%d)", step, got, &sharing, sharing.count(), want, &own, own.count())
			}
			for _, name := range all {
				if own.has(name) != sharing.has(name) || own.explicit(name) != sharing.explicit(name) {
					t.Fatalf("step %d: %s: got %v, want %v", step, name, sharing.explicit(name), own.explicit(name))
				}
			}
		}
	}
}

// TestSharedByAll: two streams have one set, and it goes when both have gone.
func TestSharedByAll(t *testing.T) {
	var r registry
	create := func(name string) func() map[string]struct{} {
		return func() map[string]struct{} { return map[string]struct{}{name: {}} }
	}
	var id, other nameID
	id.add("a")
	other.add("b")
	one := r.get(id, create("a"))
	if again := r.get(id, func() map[string]struct{} { t.Error("made twice"); return nil }); again != one {
		t.Error("got another set, want the same")
	}
	if r.get(other, create("b")) == one {
		t.Error("got one set for two lists")
	}
	runtime.KeepAlive(one)
	for end := time.Now().Add(20 * time.Second); ; {
		runtime.GC()
		r.mu.Lock()
		left := len(r.sets)
		r.mu.Unlock()
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("got %d sets that nobody has", left)
		}
		time.Sleep(time.Millisecond)
	}
	id.remove("a")
	if id != (nameID{}) {
		t.Errorf("got %+v, want nothing left", id)
	}
}
