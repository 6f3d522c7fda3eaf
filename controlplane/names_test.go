package controlplane

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dns"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// desk answers for SRV names when it is told to.
type desk struct {
	mu      sync.Mutex
	answers map[string]chan string // an address of the one server, or "" for a failure
}

func (d *desk) of(name string) chan string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answers[name] == nil {
		d.answers[name] = make(chan string)
	}
	return d.answers[name]
}

func (d *desk) Services(ctx context.Context, name string, _ []string) ([]dns.Service, time.Duration, error) {
	select {
	case target := <-d.of(name):
		if target == "" {
			return nil, 0, errors.New("the name server is ill")
		}
		return []dns.Service{{Target: target, Port: 80}}, time.Second, nil
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

func (d *desk) Addresses(_ context.Context, host string, _ [dns.Families]bool, _ []string) (out [dns.Families]dns.Reply) {
	out[dns.V4] = dns.Reply{Addresses: []netip.Addr{netip.MustParseAddr(host)}, TTL: time.Second}
	return out
}

const recordsService = `
---
{kind: Service, name: api, endpoints: ["srv:_http._tcp.api.internal"]}
`

// TestRecords: nothing is served before the first word of SRV records; a fleet with a new name keeps what it has until
// then; what does not resolve is told with its place; and all of it outlives a restart.
func TestRecords(t *testing.T) {
	dir, state, d := t.TempDir(), t.TempDir(), &desk{answers: map[string]chan string{}}
	options := func(o *Options) { o.Names, o.StateDir = d, state }
	r := start(t, dir, options)
	r.write("a.yaml", gateway+recordsService)
	r.log.wait(t, "a fleet keeps what it has until there is a first word", 1)
	if code, _ := r.get("/readyz"); code != 503 {
		t.Errorf("/readyz before the first word: got %d, want 503", code)
	}
	d.of("_http._tcp.api.internal") <- "10.0.0.1"
	s := r.stream("edge")
	subscribeAll(s)
	// Another name, of which nothing is known: the cluster that is there stays as it is, though the Service changed.
	r.write("a.yaml", gateway+strings.ReplaceAll(recordsService, "api.internal", "other.internal"))
	r.log.wait(t, "a fleet keeps what it has until there is a first word", 2)
	s.Silent(resource.EndpointType)
	d.of("_http._tcp.other.internal") <- ""
	s.ExpectAck("EDS api")
	r.log.wait(t, `at=\S*a.yaml:\d+:\d+ document=Service/api code=SL0606 field=endpoints\[0\].address .*the name server is ill; no server is known`, 1)
	d.of("_http._tcp.other.internal") <- "10.0.0.2"
	s.ExpectAck("EDS api")
	r.log.wait(t, "problem gone.*SL0606", 1)
	if _, text := r.get("/metrics"); !strings.Contains(text, `sluice_controlplane_srv_names{state="ok"} 1`) || !strings.Contains(text, `sluice_controlplane_srv_lookups_total{result="failed"} 1`) {
		t.Errorf("got no figures of names in\n%s", text)
	}
	r.stop()
	again := start(t, dir, options)
	subscribeAll(again.stream("edge")) // though no name server says a word
	d.of("_http._tcp.other.internal") <- ""
	again.log.wait(t, `SL0606 .*what was known last is served: 1 servers`, 1)
}
