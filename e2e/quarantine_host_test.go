package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// startStrict starts an Envoy whose bootstrap takes smaller regular expressions than Envoy does by itself: no control plane
// can know that.
func startStrict(t *testing.T, cp *harness.ControlPlane, fleet, id string) *harness.Proxy {
	t.Helper()
	bootstrap, admin := harness.NewBootstrap(t, cp.Addr, fleet, id)
	text, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "\nlayered_runtime: {layers: [{name: strict, static_layer: {re2.max_program_size.error_level: 20}}]}\n"...)
	if err := os.WriteFile(bootstrap, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return harness.StartProxyFrom(t, harness.Envoy, bootstrap, admin)
}

const (
	simple   = "/simple"
	tooLarge = "/[a-z]{3}[0-9]{5}[a-f]{7}[x-z]{9}"
)

// regexRoute answers with its own name.
func regexRoute(name, pattern string) string {
	return fmt.Sprintf("kind: Route\nname: %[1]s\ngateways: [web]\nhosts: [%[1]s.example.com]\nrules: [{match: {path: {regex: %[2]q}}, respond: {status: 200, body: %[1]s}}, {respond: {status: 204}}]\n", name, pattern)
}

// TestQuarantineHost: a virtual host, which is a resource of its own, is refused by every Envoy of a fleet. Of 40 Routes of the
// same push it is found, in Envoy's words; new, it is not served, and edited, its last good version is; the others are live.
func TestQuarantineHost(t *testing.T) {
	var routes []string
	for i := range 40 {
		routes = append(routes, regexRoute(fmt.Sprint("r", i), simple))
	}
	files := func() []txtar.File {
		return []txtar.File{{Name: "gateway.yaml", Data: []byte("kind: Gateway\nname: web\nfleet: edge\nlisteners: [{name: http, address: 127.0.0.1, port: {{port \"http\"}}, protocol: HTTP}]\n")},
			{Name: "routes.yaml", Data: []byte(strings.Join(routes, "---\n"))}}
	}
	stage := harness.NewStage(t, files())
	cp := harness.StartControlPlane(t, stage.Dir)
	envoy := startStrict(t, cp, "edge", "envoy-1")
	envoy.WaitReady()
	cp.WaitSynced("edge", 1)

	for i := range routes { // all are edited, one badly, and one is new
		routes[i] = regexRoute(fmt.Sprint("r", i), simple+"-2")
	}
	routes[7] = regexRoute("r7", tooLarge)
	routes = append(routes, regexRoute("new", tooLarge))
	start := time.Now()
	stage.Write(t, files())
	harness.Eventually(t, cp.Process, "status tells", func() error {
		text := cp.Sluice("status")
		if n := strings.Count(text, "SL0701"); n != 2 {
			return fmt.Errorf("got %d documents that are held back, want 2:\n%s", n, text)
		}
		return errors.Join(
			contains(text, []string{"routes.yaml:44:", "Route/r7: edge/envoy-1 (envoy 1.40.0) refuses it, so it is held back: VHDS: ", "program size", "last good version"}),
			contains(text, []string{"routes.yaml:242:", "Route/new: edge/envoy-1 (envoy 1.40.0) refuses it, so it is held back: VHDS: ", "program size", "nothing"}))
	})
	told := time.Since(start)
	host := func(name, path string) func() error {
		return func() error {
			a := harness.Do(&harness.Request{Method: "GET", Addr: stage.Addr(t, "127.0.0.1", "http"), Proto: "HTTP/1.1", Authority: name + ".example.com", Path: path}, false)
			if a.Status != 200 || string(a.Body) != name {
				return fmt.Errorf("%s%s: got %d %s %q", name, path, a.Status, a.Refused, a.Body)
			}
			return nil
		}
	}
	for i := range 40 {
		path := simple + "-2"
		if i == 7 {
			path = simple
		}
		harness.Eventually(t, cp.Process, "it is live", host(fmt.Sprint("r", i), path))
	}
	t.Logf("told after %v, and all others are live after %v", told.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	if a := host("new", simple)(); a == nil || !strings.Contains(a.Error(), "got 404") {
		t.Errorf("the new one: got %v, want 404", a)
	}
	cp.WaitSynced("edge", 1)
	routes[7], routes[40] = regexRoute("r7", simple+"-3"), regexRoute("new", simple)
	stage.Write(t, files())
	harness.Eventually(t, cp.Process, "the mended one is live", host("r7", simple+"-3"))
	harness.Eventually(t, cp.Process, "and the new one", host("new", simple))
	if text := cp.Sluice("status"); strings.Contains(text, "SL0701") {
		t.Errorf("got %s, want nothing held back", text)
	}
}
