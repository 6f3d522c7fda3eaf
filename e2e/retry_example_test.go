package e2e

import (
	"strconv"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestRetriesExample: one of the example's three endpoints is not there, and only who wants to know notices.
func TestRetriesExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "retries")
			// The built-in Gateway has fixed ports: the test brings one of its own.
			e.Put(t, "gateway.yaml", "kind: Gateway\nname: default\nlisteners: [{name: http, address: 127.0.0.1, port: "+strconv.Itoa(e.port(t, "8080"))+", protocol: HTTP}]\n")
			for _, number := range []string{"9001", "9002"} {
				e.demo(t, number, number)
			}
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			ask := func(method, path string) int {
				a := harness.Do(&harness.Request{
					Method: method, Addr: e.addr(t, "8080"), Proto: "HTTP/1.1", Authority: "localhost:" + strconv.Itoa(e.port(t, "8080")),
					Path: path, Body: []byte("order=socks"),
				}, false)
				return a.Status
			}
			for range 6 {
				for method, path := range map[string]string{"GET": "/", "POST": "/orders"} {
					if status := ask(method, path); status != 200 {
						t.Errorf("%s %s: got %d, want 200", method, path, status)
					}
				}
			}
			refused := 0
			for range 3 {
				if ask("GET", "/health") == 503 {
					refused++
				}
			}
			if refused != 1 {
				t.Errorf("/health: %d of 3 are refused, want 1", refused)
			}
		})
	}
}
