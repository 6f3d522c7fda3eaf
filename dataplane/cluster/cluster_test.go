package cluster

import (
	"net/netip"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

func endpoint(address string, weight uint32) config.Endpoint {
	return config.Endpoint{Address: config.At(netip.MustParseAddrPort(address)), Weight: weight}
}

func TestNewKeepsWhatStays(t *testing.T) {
	cfg := &config.Cluster{Name: "api", MaxRequests: 10}
	first := New(cfg, []config.Endpoint{endpoint("127.0.0.1:1", 1), endpoint("127.0.0.1:2", 1)}, nil)
	first.Endpoints[1].Active.Add(3)
	first.Stats.Requests.Add(7)
	second := New(cfg, []config.Endpoint{endpoint("127.0.0.1:2", 5), endpoint("127.0.0.1:3", 1)}, first)
	if got := second.Endpoints[0].Active.Load(); got != 3 {
		t.Errorf("requests in flight of an endpoint that stays: got %d, want 3", got)
	}
	if got := second.Endpoints[0].Weight; got != 5 {
		t.Errorf("new weight: got %d, want 5", got)
	}
	if got := first.Endpoints[1].Weight; got != 1 {
		t.Errorf("weight in the old version: got %d, want 1: a request keeps the version it started with", got)
	}
	if got := second.Stats.Requests.Load(); got != 7 {
		t.Errorf("requests counted before: got %d, want 7", got)
	}
}

func TestPick(t *testing.T) {
	empty := New(&config.Cluster{}, nil, nil)
	if got := empty.Pick(); got != nil {
		t.Errorf("no endpoint: got %v, want nil", got)
	}
	least := New(&config.Cluster{Policy: config.LeastRequest, ChoiceCount: 50},
		[]config.Endpoint{endpoint("127.0.0.1:1", 1), endpoint("127.0.0.1:2", 1)}, nil)
	least.Endpoints[0].Active.Add(1)
	for range 100 {
		if got := least.Pick(); got != least.Endpoints[1] {
			t.Fatalf("least request: got %v, want the idle endpoint", got.Address)
		}
	}
}

func TestAcquireStopsAtTheLimit(t *testing.T) {
	c := New(&config.Cluster{MaxRequests: 2}, nil, nil)
	for range 2 {
		if !c.Acquire() {
			t.Fatal("two requests: got a refusal, want both in")
		}
	}
	if c.Acquire() {
		t.Fatal("third request: got in, want a refusal")
	}
	if got := c.Stats.Overflows.Load(); got != 1 {
		t.Errorf("overflows: got %d, want 1", got)
	}
	c.Release()
	if !c.Acquire() {
		t.Error("after a release: got a refusal, want in")
	}
}
