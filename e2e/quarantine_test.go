package e2e

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestQuarantine: an address that the proxy's machine does not have, which no control plane can know. The Gateway is held
// back, in the proxy's words; a Route of the same push is live, and the Gateway's last good version goes on. After a restart
// the bad version is not pushed again; when its text is mended, it is served.
func TestQuarantine(t *testing.T) {
	p := startPair(t)
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			gateway := func(address string) txtar.File {
				return txtar.File{Name: kind + ".yaml", Data: fmt.Appendf(nil, "kind: Gateway\nname: far-%s\nfleet: %s\nlisteners: [{name: http, address: %s, port: {{port \"far-%s\"}}, protocol: HTTP}]\n", kind, kind, address, kind)}
			}
			route := func(host string) txtar.File {
				return txtar.File{Name: kind + "-more.yaml", Data: fmt.Appendf(nil, "kind: Route\nname: more-%s\ngateways: [go, envoy, far-%s]\nhosts: [%s.example.com]\nrules: [{backends: [{service: v1}]}]\n", kind, kind, host)}
			}
			serves := func(port, host string) func() error {
				return func() error { return answers(p.stage.Ports[port], host+".example.com") }
			}
			p.stage.Write(t, []txtar.File{gateway("127.0.0.1"), route("first-" + kind)})
			harness.Eventually(t, p.cp.Process, "the good version serves", serves("far-"+kind, "first-"+kind))
			p.cp.WaitSynced(kind, 1)

			start := time.Now()
			p.stage.Write(t, []txtar.File{gateway("203.0.113.1"), route("second-" + kind)})
			told := []string{kind + ".yaml:2:", "SL0701", "Gateway/far-" + kind, kind + "/" + kind, "203.0.113.1", "assign requested address", "last good version"}
			harness.Eventually(t, p.cp.Process, "status tells", func() error {
				return contains(strings.ReplaceAll(p.cp.Sluice("status"), "cannot assign", "Cannot assign"), told)
			})
			t.Logf("%s: held back, and told, after %v", kind, time.Since(start).Round(time.Millisecond))
			harness.Eventually(t, p.cp.Process, "what came with it is live", serves(kind, "second-"+kind))
			harness.Eventually(t, p.cp.Process, "also on the last good version", serves("far-"+kind, "second-"+kind))
			t.Logf("%s: the rest is live after %v", kind, time.Since(start).Round(time.Millisecond))
			p.cp.WaitSynced(kind, 1)

			refused := func() float64 {
				return harness.Sum(t, mustGet(t, "http://"+p.cp.Ops+"/metrics"), `sluice_controlplane_nacks_total\{.*\}`)
			}
			p.cp.Kill()
			p.cp.Launch()
			p.cp.WaitReady()
			p.cp.WaitSynced(kind, 1)
			if n := refused(); n > 0 {
				t.Errorf("%v refusals after a restart, want the version that is held back not to be pushed", n)
			}
			if err := contains(strings.ReplaceAll(p.cp.Sluice("status"), "cannot assign", "Cannot assign"), told); err != nil {
				t.Errorf("after a restart: %v", err)
			}
			p.stage.Write(t, []txtar.File{gateway("127.0.0.2")})
			harness.Eventually(t, p.cp.Process, "status is clean", func() error {
				if text := p.cp.Sluice("status"); strings.Contains(text, "SL0701") {
					return fmt.Errorf("%s", text)
				}
				return nil
			})
			p.cp.WaitSynced(kind, 1)
		})
	}
}

func mustGet(t *testing.T, url string) string {
	t.Helper()
	text, err := harness.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// answers is an error unless a proxy serves a host on a port.
func answers(port int, host string) error {
	a := harness.Do(&harness.Request{Method: "GET", Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Proto: "HTTP/1.1", Authority: host, Path: "/"}, false)
	if a.Status != 200 {
		return fmt.Errorf("%s on port %d: got %d %s", host, port, a.Status, a.Refused)
	}
	return nil
}
