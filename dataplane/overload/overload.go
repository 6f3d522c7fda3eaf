// Package overload watches the memory of the process, and says what must stop when there is too little: new requests
// first, then new connections.
//
// In: a bound and shares of it (the overload manager of Envoy's bootstrap). Out: answers that cost a request no more than
// a load. It must not know what a request or a connection is.
//
// Envoy measures what its allocator has; here that would be garbage for the greater part. So memory in use is what was
// reachable at the last collection, with stacks and the runtime's own; and Go's memory limit is set to the least of the
// shares, so that collections come often enough near it for that to be true.
package overload

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// Options are a Monitor's.
type Options struct {
	// MaxBytes is how much memory there is; more than 0.
	MaxBytes int64
	// Every is how often memory is looked at; 0 is each second.
	Every time.Duration
	// StopRequests, StopConnections and RejectConnections are shares of MaxBytes, above 0 and at most 1, from which on each
	// holds; 0 is never.
	StopRequests, StopConnections, RejectConnections float64
}

// Monitor is what watches. Any goroutine may ask it.
type Monitor struct {
	options Options
	// used tells memory in use, in bytes; tests have their own.
	used func() int64

	last                atomic.Int64
	refusing, rejecting atomic.Bool
	// paused is nil while connections are accepted; else it is closed when they are again.
	paused atomic.Pointer[chan struct{}]
}

// New makes a Monitor; Run lets it watch.
func New(options Options) *Monitor {
	if options.Every <= 0 {
		options.Every = time.Second
	}
	m := &Monitor{options: options, used: used}
	m.last.Store(used())
	return m
}

// Run watches until ctx ends. After that nothing is refused for want of memory any more.
func (m *Monitor) Run(ctx context.Context) {
	restore := m.limitHeap()
	defer restore()
	ticker := time.NewTicker(m.options.Every)
	defer ticker.Stop()
	for {
		m.look(m.used())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			m.look(0)
			return
		}
	}
}

// limitHeap sets Go's memory limit, unless a lower one is set already (GOMEMLIMIT).
func (m *Monitor) limitHeap() (restore func()) {
	share := 1.0
	for _, s := range []float64{m.options.StopRequests, m.options.StopConnections, m.options.RejectConnections} {
		if s > 0 {
			share = min(share, s)
		}
	}
	limit := int64(share * float64(m.options.MaxBytes))
	before := debug.SetMemoryLimit(-1)
	if before <= limit {
		return func() {}
	}
	debug.SetMemoryLimit(limit)
	return func() { debug.SetMemoryLimit(before) }
}

// look decides by what is in use.
func (m *Monitor) look(used int64) {
	m.last.Store(used)
	above := func(share float64) bool { return share > 0 && float64(used) >= share*float64(m.options.MaxBytes) }
	m.refusing.Store(above(m.options.StopRequests))
	m.rejecting.Store(above(m.options.RejectConnections))
	switch paused := m.paused.Load(); {
	case above(m.options.StopConnections) && paused == nil:
		resumed := make(chan struct{})
		m.paused.Store(&resumed)
	case !above(m.options.StopConnections) && paused != nil:
		m.paused.Store(nil)
		close(*paused)
	}
}

// Refusing: new requests are to be answered 503.
func (m *Monitor) Refusing() bool { return m.refusing.Load() }

// Rejecting: new connections are to be closed.
func (m *Monitor) Rejecting() bool { return m.rejecting.Load() }

// Paused is closed when connections are to be accepted again; nil is that they are.
func (m *Monitor) Paused() <-chan struct{} {
	if paused := m.paused.Load(); paused != nil {
		return *paused
	}
	return nil
}

// Memory is what was in use when it was last looked at, and the bound, in bytes.
func (m *Monitor) Memory() (used, most int64) { return m.last.Load(), m.options.MaxBytes }

// What the runtime says: all memory that it has, less what it has given back, keeps free, or has not collected yet.
var names = [...]string{
	"/memory/classes/total:bytes",
	"/memory/classes/heap/released:bytes",
	"/memory/classes/heap/free:bytes",
	"/memory/classes/heap/objects:bytes",
	"/gc/heap/live:bytes",
}

func used() int64 {
	var samples [len(names)]metrics.Sample
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples[:])
	value := func(i int) int64 { return int64(min(samples[i].Value.Uint64(), math.MaxInt64)) }
	total, released, free, objects, live := value(0), value(1), value(2), value(3), value(4)
	return total - released - free - max(0, objects-live)
}
