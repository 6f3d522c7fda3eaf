package overload

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestShares(t *testing.T) {
	m := New(Options{MaxBytes: 1000, StopRequests: 0.5, StopConnections: 0.7, RejectConnections: 0.9})
	for _, test := range []struct {
		used                        int64
		refusing, paused, rejecting bool
	}{
		{499, false, false, false}, {500, true, false, false}, {700, true, true, false}, {900, true, true, true},
		{2000, true, true, true}, {899, true, true, false}, {699, true, false, false}, {0, false, false, false},
	} {
		m.look(test.used)
		if m.Refusing() != test.refusing || m.Rejecting() != test.rejecting || (m.Paused() != nil) != test.paused {
			t.Errorf("%d of 1000: refusing %v, paused %v, rejecting %v, want %+v", test.used, m.Refusing(), m.Paused() != nil, m.Rejecting(), test)
		}
		if used, most := m.Memory(); used != test.used || most != 1000 {
			t.Errorf("memory: got %d of %d", used, most)
		}
	}
	never := New(Options{MaxBytes: 1000})
	never.look(5000)
	if never.Refusing() || never.Rejecting() || never.Paused() != nil {
		t.Error("without shares something stops")
	}
}

// TestRun: it looks again and again, who waits is woken, and in the end nothing is held up.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{MaxBytes: 1 << 50, Every: time.Second, StopConnections: 0.5})
		var usage atomic.Int64
		usage.Store(1 << 50)
		m.used = usage.Load
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { m.Run(ctx); close(ended) }()
		synctest.Wait()
		paused := m.Paused()
		if paused == nil {
			t.Fatal("all memory is in use, and connections are accepted")
		}
		usage.Store(0)
		<-paused
		if m.Paused() != nil {
			t.Error("woken, and still paused")
		}
		usage.Store(1 << 50)
		time.Sleep(1500 * time.Millisecond) // of the bubble's time
		paused = m.Paused()
		cancel()
		<-paused
		<-ended
	})
}

// TestUsed: garbage does not count, what is reachable does.
func TestUsed(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	before := used()
	const size = 64 << 20
	block := make([]byte, size)
	if grown := used() - before; grown > size/2 {
		t.Errorf("what no collection has seen counts: %d bytes", grown)
	}
	runtime.GC()
	if grown := used() - before; grown < size/2 {
		t.Errorf("%d bytes are reachable, and %d count", size, grown)
	}
	runtime.KeepAlive(block)
	runtime.GC()
	if grown := used() - before; grown > size/2 {
		t.Errorf("what is free counts: %d bytes", grown)
	}
}

func TestMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	m := New(Options{MaxBytes: 1 << 40, StopRequests: 0.75, RejectConnections: 0.9})
	restore := m.limitHeap()
	if got := debug.SetMemoryLimit(-1); got != 3<<38 {
		t.Errorf("the limit is %d, want %d", got, int64(3)<<38)
	}
	restore()
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("afterwards the limit is %d, want %d", got, before)
	}
	debug.SetMemoryLimit(1 << 35)
	restore = m.limitHeap()
	defer restore()
	if got := debug.SetMemoryLimit(-1); got != 1<<35 {
		t.Errorf("a lower limit became %d", got)
	}
}
