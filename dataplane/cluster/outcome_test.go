package cluster

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

func suspected(c *Cluster) bool {
	select {
	case <-c.Suspected():
		return true
	default:
		return false
	}
}

func TestNote(t *testing.T) {
	const both = Failing5xx | FailingGateway
	for _, test := range []struct {
		name     string
		statuses []int
		want     Suspicion
	}{
		{"nothing", nil, 0},
		{"too few", []int{500, 500}, 0},
		{"5xx", []int{500, 501, 599}, Failing5xx},
		{"one that is well between", []int{500, 500, 200, 500, 500}, 0},
		{"a client's fault is well", []int{500, 500, 404, 500, 500}, 0},
		{"gateway", []int{503, 504}, FailingGateway},
		{"both", []int{502, 502, 502}, both},
		{"a 500 between", []int{502, 500, 502}, Failing5xx},
		{"501 and 505 are no gateway's", []int{501, 505}, 0},
		{"switched", []int{500, 500, 101, 500, 500}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := New(&config.Cluster{Outliers: &config.Outliers{Consecutive5xx: 3, ConsecutiveGateway: 2}}, endpoints(false, 1), nil)
			e := c.Endpoints[0]
			for _, s := range test.statuses {
				c.Note(e, s)
			}
			if got := e.Suspicions(); got != test.want || suspected(c) != (test.want != 0) {
				t.Fatalf("got suspicions %b, want %b, and to be called if there are any", got, test.want)
			}
		})
	}
}

// Nobody is asked where nothing is to be detected, and a count that is off never fills.
func TestNoteNothing(t *testing.T) {
	for _, o := range []*config.Outliers{nil, {}} {
		c := New(&config.Cluster{Outliers: o}, endpoints(false, 1), nil)
		for range 100 {
			c.Note(c.Endpoints[0], 503)
		}
		if got := c.Endpoints[0].Suspicions(); got != 0 || suspected(c) {
			t.Errorf("%+v: got %b, want none", o, got)
		}
	}
}

func TestNoteAllocatesNothing(t *testing.T) {
	c := New(&config.Cluster{Outliers: &config.Outliers{Consecutive5xx: 2, ConsecutiveGateway: 2}}, endpoints(false, 1), nil)
	if n := testing.AllocsPerRun(100, func() {
		c.Note(c.Endpoints[0], 503)
		c.Note(c.Endpoints[0], 200)
	}); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// Who is new in a cluster with health checks gets nothing before its first; who is known stays what it was.
func TestUnchecked(t *testing.T) {
	asked := &config.Cluster{HealthCheck: &config.HealthCheck{}}
	old := New(&config.Cluster{}, endpoints(false, 1), nil)
	c := New(asked, endpoints(false, 1, 2), old)
	if !c.Endpoints[0].Healthy() || c.Endpoints[1].Illness() != FailedCheck {
		t.Fatalf("got %b and %b", c.Endpoints[0].Illness(), c.Endpoints[1].Illness())
	}
	if e := New(asked, endpoints(false, 3), nil).Pick(); e != nil {
		t.Errorf("got %s before its first check, want nobody", e.Address)
	}
}

// An endpoint that falls while a new version of its cluster is made is chosen by none of them afterwards.
func TestFallWhileMade(t *testing.T) {
	const many = 300
	var ports []uint16
	for i := range uint16(many) {
		ports = append(ports, i+1)
	}
	cfg, list := &config.Cluster{}, endpoints(false, ports...)
	old := New(cfg, list, nil)
	start := time.Now()
	New(cfg, list, old)
	took := time.Since(start)
	const rounds = 500
	for i := range rounds {
		c := New(cfg, list, old)
		// The first is looked at first.
		ill := c.Endpoints[0]
		var next *Cluster
		var wg sync.WaitGroup
		begun := time.Now()
		wg.Go(func() { next = New(cfg, list, c) })
		wg.Go(func() {
			// At any moment of it.
			for time.Since(begun) < 2*took*time.Duration(i)/rounds {
				runtime.Gosched()
			}
			ill.Fall(FailedCheck)
			c.Refresh()
		})
		wg.Wait()
		for range many {
			if e := next.Pick(); e == nil || e.Load == ill.Load {
				t.Fatalf("round %d: got %v, want one that is well", i, e)
			}
		}
		ill.Recover(FailedCheck)
	}
}
