package authority

import (
	"sync"
	"time"
)

// limit lets so many things through for each key: a full bucket at first, refilled little by little. Keys are
// strangers' to choose, so their number is bounded: when there are too many, the full buckets are forgotten, and if
// there are none, everything is.
type limit struct {
	// Read-only.
	burst float64
	every time.Duration // for one more
	keys  int
	now   func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket // guarded by mu
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimit(burst int, every time.Duration, keys int, now func() time.Time) *limit {
	return &limit{burst: float64(burst), every: every, keys: keys, now: now, buckets: map[string]bucket{}}
}

// take takes one, if there is one.
func (l *limit) take(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.fill(key)
	if b.left < 1 {
		return false
	}
	b.left--
	l.keep(key, b)
	return true
}

func (l *limit) fill(key string) bucket {
	now := l.now()
	b, ok := l.buckets[key]
	if !ok {
		return bucket{l.burst, now}
	}
	b.left = min(l.burst, b.left+float64(max(0, now.Sub(b.at)))/float64(l.every))
	b.at = now
	return b
}

func (l *limit) keep(key string, b bucket) {
	if _, known := l.buckets[key]; !known && len(l.buckets) >= l.keys {
		for k := range l.buckets {
			if l.fill(k).left >= l.burst {
				delete(l.buckets, k)
			}
		}
		if len(l.buckets) >= l.keys {
			clear(l.buckets)
		}
	}
	l.buckets[key] = b
}
