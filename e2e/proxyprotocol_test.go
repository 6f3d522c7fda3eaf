package e2e

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const announcedDefinitions = `kind: Gateway
name: web
listeners: [{name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}]
---
kind: Route
name: all
gateways: [web]
rules:
  - {match: {path: {prefix: /h2}}, backends: [{service: h2}]}
  - {backends: [{service: h1}]}
---
{kind: Service, name: h1, endpoints: ["{{proxied "upstream" "h1"}}"], proxyProtocol: V1}
---
{kind: Service, name: h2, endpoints: ["{{proxied "h2c" "h2"}}"], proxyProtocol: V2, protocol: HTTP2}
`

// TestAnnouncedClients: of many clients at once, each request comes by a connection that is announced as its own client's,
// and each client's requests share one.
func TestAnnouncedClients(t *testing.T) {
	const clients, rounds = 20, 5
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := harness.NewStage(t, []txtar.File{{Name: "web.yaml", Data: []byte(announcedDefinitions)}})
			cp := harness.StartControlPlane(t, s.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			var all sync.WaitGroup
			for range clients {
				h := hold(t, s.Addr(t, "127.0.0.1", "http"))
				all.Go(func() {
					for range rounds {
						for _, path := range []string{"/h1", "/h2"} {
							// The upstream records x-client beside what its connection says.
							fmt.Fprintf(h, "GET %s HTTP/1.1\r\nHost: a.test\r\nX-Client: %s\r\n\r\n", path, h.LocalAddr())
							res, err := http.ReadResponse(h.reader, nil)
							if err != nil {
								t.Error(err)
								return
							}
							_, _ = io.Copy(io.Discard, res.Body)
							if res.StatusCode != 200 {
								t.Errorf("%s: got %d", path, res.StatusCode)
							}
						}
					}
				})
			}
			all.Wait()
			for name, version := range map[string]string{"h1": "v1", "h2": "v2"} {
				u := s.Upstreams[name]
				seen := u.Take()
				if len(seen) != clients*rounds {
					t.Errorf("%s: got %d requests, want %d", name, len(seen), clients*rounds)
				}
				for _, r := range seen {
					if want := fmt.Sprintf("%s %s %s", version, r.Get("x-client"), s.Addr(t, "127.0.0.1", "http")); r.Proxy != want {
						t.Errorf("%s: a request came by the connection of %q, want %q", name, r.Proxy, want)
					}
				}
				if n := u.Accepted(); n != clients {
					t.Errorf("%s: %d connections for %d clients", name, n, clients)
				}
			}
		})
	}
}
