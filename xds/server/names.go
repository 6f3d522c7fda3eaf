package server

import (
	"hash/maphash"
	"runtime"
	"sync"
	"weak"
)

// Most proxies name the same thousands of resources, so streams that have settled share one set of names: a stream costs no
// memory for each of them (rule 17).

// nameSet is a set that nobody changes.
type nameSet struct {
	id  nameID
	set map[string]struct{}
}

// nameID knows a set of names by what is in it: it is the sum of their hashes, under two seeds that no client knows, and how
// many and long they are.
type nameID struct {
	one, two     uint64
	count, bytes int
}

var seedOne, seedTwo = maphash.MakeSeed(), maphash.MakeSeed()

func (id *nameID) add(name string) {
	id.one += maphash.String(seedOne, name)
	id.two += maphash.String(seedTwo, name)
	id.count++
	id.bytes += len(name)
}

func (id *nameID) remove(name string) {
	id.one -= maphash.String(seedOne, name)
	id.two -= maphash.String(seedTwo, name)
	id.count--
	id.bytes -= len(name)
}

// registry finds sets of names that some stream has. It does not keep them.
type registry struct {
	mu   sync.Mutex
	sets map[nameID]weak.Pointer[nameSet] // guarded by mu
}

// get is the set of an ID; create, which is not called with the lock held, makes it if nobody has it, or gives nil if there is to be
// none.
func (r *registry) get(id nameID, create func() map[string]struct{}) *nameSet {
	find := func() *nameSet {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.sets[id].Value()
	}
	if n := find(); n != nil {
		return n
	}
	set := create()
	if set == nil {
		return nil
	}
	n := &nameSet{id, set}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.sets[id].Value(); other != nil {
		return other
	}
	if r.sets == nil {
		r.sets = map[nameID]weak.Pointer[nameSet]{}
	}
	r.sets[id] = weak.Make(n)
	runtime.AddCleanup(n, r.forget, id)
	return n
}

// forget drops the entry of a set that nobody has any more.
func (r *registry) forget(id nameID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sets[id].Value() == nil {
		delete(r.sets, id)
	}
}

// shared is for all streams of the process.
var shared registry
