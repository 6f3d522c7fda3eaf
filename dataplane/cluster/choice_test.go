package cluster

import (
	"runtime"
	"sync"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// TestIllness: who is ill gets nothing, whatever the policy, and a new version of the cluster knows it too.
func TestIllness(t *testing.T) {
	for name, policy := range map[string]config.Policy{
		"roundRobin": config.RoundRobin, "leastRequest": config.LeastRequest, "random": config.Random, "ringHash": config.RingHash, "maglev": config.Maglev,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := &config.Cluster{Policy: policy, ChoiceCount: 2, MinRingSize: 16, MaxRingSize: 64, TableSize: 101}
			endpoints := []config.Endpoint{endpoint("10.0.0.1:80", 1), endpoint("10.0.0.2:80", 1), endpoint("10.0.0.3:80", 2)}
			c := New(cfg, endpoints, nil)
			sick := c.Endpoints[2]
			if !sick.Fall(FailedCheck) || sick.Fall(FailedCheck) || !sick.Fall(Ejected) {
				t.Fatal("Fall must tell what is news")
			}
			c.Refresh()
			picked(t, c, "10.0.0.1:80", "10.0.0.2:80")
			picked(t, New(cfg, endpoints, c), "10.0.0.1:80", "10.0.0.2:80")
			if sick.Recover(FailedCheck) != true || sick.Healthy() {
				t.Fatal("one of two illnesses is left")
			}
			sick.Recover(Ejected)
			c.Refresh()
			picked(t, c, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
		})
	}
}

// picked wants exactly these addresses among many picks.
func picked(t *testing.T, c *Cluster, want ...string) {
	t.Helper()
	got := map[string]bool{}
	for range 1000 {
		got[c.Pick().Address.String()] = true
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for _, address := range want {
		if !got[address] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// Of many who come at once few look: a table may take long to make.
func TestRefreshForAll(t *testing.T) {
	c := New(&config.Cluster{}, []config.Endpoint{endpoint("10.0.0.1:80", 1), endpoint("10.0.0.2:80", 1)}, nil)
	const crowd = 64
	var here, done sync.WaitGroup
	here.Add(crowd)
	made := sync.Map{}
	c.mu.Lock()
	for range crowd {
		done.Go(func() {
			here.Done()
			c.Refresh()
			made.Store(c.choice.Load(), true)
		})
	}
	here.Wait()
	runtime.Gosched()
	c.mu.Unlock()
	done.Wait()
	n := 0
	for range made.Range {
		n++
	}
	if n > crowd/2 {
		t.Errorf("%d who came at once made %d choices, want a few", crowd, n)
	}
	c.Endpoints[0].Fall(FailedCheck)
	c.Refresh()
	for range 4 {
		if e := c.Pick(); e != c.Endpoints[1] {
			t.Fatalf("got %v, want the one that is well", e.Address)
		}
	}
}
