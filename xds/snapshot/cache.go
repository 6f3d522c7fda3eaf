package snapshot

import (
	"maps"
	"slices"
	"sync"
)

// Cache holds the latest snapshot of each fleet. Its lock is held for a map look-up, or to ring the bells of the
// watchers: never while anything is compared, built or sent.
type Cache struct {
	mu       sync.RWMutex
	ready    bool
	fleets   map[string]*Snapshot
	watchers map[string]map[*Watcher]struct{}
}

// NewCache makes a cache that is not ready.
func NewCache() *Cache {
	return &Cache{fleets: map[string]*Snapshot{}, watchers: map[string]map[*Watcher]struct{}{}}
}

// SetAll replaces all fleets, and makes the cache ready. A fleet that is no longer there has the empty snapshot.
func (c *Cache) SetAll(fleets map[string]*Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, first := c.fleets, !c.ready
	c.fleets, c.ready = maps.Clone(fleets), true
	if c.fleets == nil {
		c.fleets = map[string]*Snapshot{}
	}
	for fleet, watchers := range c.watchers {
		if first || old[fleet] != c.fleets[fleet] {
			ring(watchers)
		}
	}
}

// Set replaces the snapshot of one fleet. It does not make the cache ready: one fleet is not a full build (rule 15).
func (c *Cache) Set(fleet string, s *Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fleets[fleet] == s {
		return
	}
	c.fleets[fleet] = s
	ring(c.watchers[fleet])
}

// Get is the latest snapshot of a fleet: nil while the cache is not ready, Empty if there is no such fleet.
func (c *Cache) Get(fleet string) *Snapshot {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.ready {
		return nil
	}
	if s := c.fleets[fleet]; s != nil {
		return s
	}
	return Empty
}

// Ready reports whether SetAll was called: before the first full build nothing is served (rule 15).
func (c *Cache) Ready() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.ready
}

// Fleets are the names of the fleets, sorted.
func (c *Cache) Fleets() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Sorted(maps.Keys(c.fleets))
}

// Watcher is told that a fleet has another snapshot. Many changes may ring once: what counts is what Get says then.
type Watcher struct {
	// C holds one value after a change, until it is received.
	C     chan struct{}
	cache *Cache
	fleet string
}

// Watch begins to watch a fleet. The first value comes with the next change: call Get after Watch for what is there.
func (c *Cache) Watch(fleet string) *Watcher {
	w := &Watcher{C: make(chan struct{}, 1), cache: c, fleet: fleet}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers[fleet] == nil {
		c.watchers[fleet] = map[*Watcher]struct{}{}
	}
	c.watchers[fleet][w] = struct{}{}
	return w
}

// Stop ends the watch. It may be called more than once.
func (w *Watcher) Stop() {
	w.cache.mu.Lock()
	defer w.cache.mu.Unlock()
	delete(w.cache.watchers[w.fleet], w)
	if len(w.cache.watchers[w.fleet]) == 0 {
		delete(w.cache.watchers, w.fleet)
	}
}

func ring(watchers map[*Watcher]struct{}) {
	for w := range watchers {
		select {
		case w.C <- struct{}{}:
		default: // it has not looked since the last change, and will see the latest
		}
	}
}
