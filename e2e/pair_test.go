package e2e

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// pair is one control plane and one proxy of each kind, each in a fleet of its own: the fleet is called like the kind.
type pair struct {
	stage   *harness.Stage
	cp      *harness.ControlPlane
	proxies map[string]*harness.Proxy
}

// splitDefinitions serve two versions, 90 to 10, on a port for each kind.
const splitDefinitions = `kind: Gateway
name: go
fleet: sluice-proxy
listeners: [{name: http, address: 127.0.0.1, port: {{port "sluice-proxy"}}, protocol: HTTP}]
---
kind: Gateway
name: envoy
fleet: envoy
listeners: [{name: http, address: 127.0.0.1, port: {{port "envoy"}}, protocol: HTTP}]
---
kind: Route
name: split
gateways: [go, envoy]
hosts: [split.example.com]
rules:
  - name: all
    backends: [{service: v1, weight: 90}, {service: v2, weight: 10}]
---
kind: Service
name: v1
endpoints: ["{{upstream "v1"}}"]
---
kind: Service
name: v2
endpoints: ["{{upstream "v2"}}"]
`

const (
	weights       = "{service: v1, weight: 90}, {service: v2, weight: 10}"
	turnedWeights = "{service: v1, weight: 10}, {service: v2, weight: 90}"
)

func stagePair(t *testing.T) *pair {
	t.Helper()
	return stagePairOf(t, splitDefinitions)
}

// stagePairOf is stagePair with definitions like these, in split.yaml.
func stagePairOf(t *testing.T, definitions string) *pair {
	t.Helper()
	p := &pair{proxies: map[string]*harness.Proxy{}}
	p.stage = harness.NewStage(t, []txtar.File{{Name: "split.yaml", Data: []byte(definitions)}})
	for _, u := range p.stage.Upstreams {
		u.CountOnly()
	}
	return p
}

// startPair starts everything, and waits until both proxies serve.
func startPair(t *testing.T) *pair {
	t.Helper()
	p := stagePair(t)
	p.cp = harness.StartControlPlane(t, p.stage.Dir)
	p.startProxies(t, p.cp.Addr)
	p.waitReady(t)
	return p
}

func (p *pair) startProxies(t *testing.T, server string) {
	t.Helper()
	for _, kind := range harness.Kinds {
		p.proxies[kind] = harness.StartProxy(t, kind, server, kind, kind+"-1")
	}
}

func (p *pair) waitReady(t *testing.T) {
	t.Helper()
	for kind, proxy := range p.proxies {
		proxy.WaitReady()
		p.cp.WaitSynced(kind, 1)
	}
}

// edit replaces text in a file of definitions, which must be there once.
func (p *pair) edit(t *testing.T, old, now string) {
	t.Helper()
	text := p.stage.Text(t, "split.yaml")
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q stands %d times in the definitions, want once", old, strings.Count(text, old))
	}
	p.stage.Put(t, "split.yaml", strings.Replace(text, old, now, 1))
}

// loader sends requests to the proxy of a kind.
func (p *pair) loader(t *testing.T, kind string, workers int) *harness.Loader {
	t.Helper()
	port := strconv.Itoa(p.stage.Ports[kind])
	return harness.NewLoader(t, "http://"+net.JoinHostPort("127.0.0.1", port)+"/", "split.example.com", workers)
}

// fine is an error if a request failed.
func fine(t harness.Tally) error {
	if t.Failures > 0 {
		return fmt.Errorf("%d of %d requests failed: %v", t.Failures, t.Requests, t.Words)
	}
	return nil
}

// errNotYet is why Eventually asks again where there is nothing more to say.
var errNotYet = errors.New("not yet")

// turned asks until the shares are those of turnedWeights: 50 requests of which v2 gets most.
func turned(l *harness.Loader) error {
	tally := l.Run(50, 2)
	if err := fine(tally); err != nil {
		return err
	}
	if tally.Percent("v2") < 70 {
		return fmt.Errorf("v2 gets %.0f%%", tally.Percent("v2"))
	}
	return nil
}
