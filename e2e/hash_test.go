package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// A fleet of each kind of proxy, and the same Services for both: endpoints at the same addresses.
const hashDefinitions = `
kind: Gateway
name: go
fleet: sluice-proxy
listeners: [{name: http, address: 127.0.0.1, port: {{port "sluice-proxy"}}, protocol: HTTP}]
---
kind: Gateway
name: envoy
fleet: envoy
listeners: [{name: http, address: 127.0.0.1, port: {{port "envoy"}}, protocol: HTTP}]
`

const hashService = `---
kind: Service
name: %[1]s
hosts: [%[1]s.example.com]
gateways: [go, envoy]
endpoints: [%[2]s]
loadBalancer: {%[3]s}
`

// TestHashKeys sends a thousand keys to both kinds of proxy, with endpoints known by their addresses: each key goes to one
// endpoint, whichever proxy it came to, and a cookie that one has made is understood by the other.
func TestHashKeys(t *testing.T) {
	weights := []int{1, 2, 3, 10, 1, 7}
	var weighted, equal []string
	for i, w := range weights {
		address := fmt.Sprintf(`"{{upstream "u%d"}}"`, i)
		equal = append(equal, address)
		weighted = append(weighted, fmt.Sprintf("{address: %s, weight: %d}", address, w))
	}
	const on = "{hashOn: [{header: {name: x-key}}]}"
	services := map[string][2]string{
		"ring":            {strings.Join(equal, ", "), "ringHash: " + on},
		"weighted-ring":   {strings.Join(weighted, ", "), "ringHash: " + on},
		"maglev":          {strings.Join(equal, ", "), "maglev: " + on},
		"weighted-maglev": {strings.Join(weighted, ", "), "maglev: " + on},
		"cookie":          {strings.Join(weighted, ", "), "ringHash: {hashOn: [{cookie: {name: session, ttl: 1h}}]}"},
	}
	text := hashDefinitions
	for name, s := range services {
		text += fmt.Sprintf(hashService, name, s[0], s[1])
	}
	stage := harness.NewStage(t, []txtar.File{{Name: "hash.yaml", Data: []byte(text)}})
	cp := harness.StartControlPlane(t, stage.Dir)
	for _, kind := range harness.Kinds {
		proxy := harness.StartProxy(t, kind, cp.Addr, kind, kind)
		proxy.WaitReady()
		cp.WaitSynced(kind, 1)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	ask := func(kind, service, name, value string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("http://127.0.0.1:%d/", stage.Ports[kind]), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = service + ".example.com"
		if name != "" {
			req.Header.Set(name, value)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			t.Fatalf("%s, %s: got status %d, want 200", kind, service, resp.StatusCode)
		}
		return resp
	}
	for service := range services {
		if service == "cookie" {
			continue
		}
		served := map[string]int{}
		differ := 0
		for n := range 1000 {
			key := fmt.Sprintf("key-%d", n)
			a, b := ask(harness.Go, service, "x-key", key).Header.Get("x-echo"), ask(harness.Envoy, service, "x-key", key).Header.Get("x-echo")
			served[a]++
			if a != b {
				if differ++; differ <= 5 {
					t.Errorf("%s: %s goes to %s by the Go proxy, to %s by Envoy", service, key, a, b)
				}
			}
		}
		if len(served) != len(weights) {
			t.Errorf("%s: got keys at %v, want some at each of %d endpoints", service, served, len(weights))
		}
		t.Logf("%s: %d of 1000 keys differ; %v", service, differ, served)
	}
	for _, maker := range harness.Kinds {
		for range 20 {
			first := ask(maker, "cookie", "", "")
			if len(first.Cookies()) != 1 {
				t.Fatalf("%s: got cookies %v, want one", maker, first.Cookies())
			}
			made := first.Cookies()[0]
			for _, kind := range harness.Kinds {
				again := ask(kind, "cookie", "Cookie", made.Name+"="+made.Value)
				if got, want := again.Header.Get("x-echo"), first.Header.Get("x-echo"); got != want || len(again.Cookies()) != 0 {
					t.Errorf("%s: a client of %s with the cookie that %s made goes to %s, and gets cookies %v; want %s and none", kind, want, maker, got, again.Cookies(), want)
				}
			}
			transport.CloseIdleConnections()
		}
	}
}
