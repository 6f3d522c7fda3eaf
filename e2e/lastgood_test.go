package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const lastGoodDefinitions = `kind: Gateway
name: web
listeners:
  - {name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}
  - {name: https, address: 127.0.0.1, port: {{port "https"}}, protocol: HTTPS, certificates: [shop]}
---
kind: Route
name: shop
gateways: [web]
rules:
  - name: all
    backends: [{service: v1, weight: 1}, {service: v2, weight: 0}]
---
{kind: Service, name: v1, endpoints: ["{{upstream "v1"}}"]}
---
{kind: Service, name: v2, endpoints: ["{{upstream "v2"}}"]}
---
{kind: Certificate, name: shop, selfSigned: {hosts: [shop.example.com]}}
`

// TestLastGood: the machine restarts, and the control plane does not: the Go proxy serves what it served, certificates
// and all. What changed meanwhile is live when the control plane is back. Envoy has no such thing.
func TestLastGood(t *testing.T) {
	stage := harness.NewStage(t, []txtar.File{{Name: "web.yaml", Data: []byte(lastGoodDefinitions)}})
	state := filepath.Join(t.TempDir(), "state")
	cp := harness.StartControlPlane(t, stage.Dir)
	p := harness.StartProxy(t, harness.Go, cp.Addr, "default", "p1")
	p.WaitReady()
	p.Stop()
	restart := func() { p = harness.StartProxyFrom(t, harness.Go, p.Bootstrap, p.Admin, "--state", state) }
	restart()
	cp.WaitSynced("default", 1)
	p.WaitReady()
	// Killed, not stopped: it must be on disk by then.
	harness.Eventually(t, p.Process, "it is kept", func() error {
		_, err := os.Stat(filepath.Join(state, "last-good"))
		return err
	})
	p.Kill()
	cp.Kill()

	ask := func(scheme, want string) {
		t.Helper()
		request := &harness.Request{
			Method: "GET", Addr: stage.Addr(t, "127.0.0.1", scheme), TLS: scheme == "https", SNI: "shop.example.com", Proto: "HTTP/1.1",
			Authority: "shop.example.com", Path: "/",
		}
		harness.Eventually(t, p.Process, scheme, func() error {
			if a := harness.Do(request, false); a.Status != 200 || a.Get("x-echo") != want {
				return fmt.Errorf("got %d from %q (%s), want 200 from %s", a.Status, a.Get("x-echo"), a.Refused, want)
			}
			return nil
		})
	}
	began := time.Now()
	restart()
	ask("http", "v1")
	took := time.Since(began)
	t.Logf("serves %v after its start, without a control plane (promised: 1s)", took.Round(time.Millisecond))
	if took > limit {
		t.Errorf("it took %v", took)
	}
	ask("https", "v1")
	p.WaitLog("no control plane answers: starting from the last good configuration")

	stage.Put(t, "web.yaml", strings.Replace(stage.Text(t, "web.yaml"), "{service: v1, weight: 1}, {service: v2, weight: 0}", "{service: v2}", 1))
	cp.Launch()
	cp.WaitReady()
	ask("http", "v2")
	cp.WaitSynced("default", 1)
}
