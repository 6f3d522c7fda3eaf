package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestRetryUnderLoad: one of two endpoints is killed under load. At most one request in a thousand fails, and no POST is
// seen twice, by whichever endpoint.
func TestRetryUnderLoad(t *testing.T) {
	const (
		total, workers = 12_000, 16
		// The endpoint is killed when so many are done.
		killed = 2_000
	)
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			stage := harness.NewStage(t, []txtar.File{{Name: "web.yaml", Data: []byte(`kind: Gateway
name: web
listeners: [{name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP, accessLog: {disabled: true}}]
---
{kind: Route, name: all, gateways: [web], rules: [{retry: {}, backends: [{service: two}]}]}
---
{kind: Service, name: two, endpoints: ["{{upstream "v1"}}", "{{upstream "v2"}}"]}
`)}})
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)

			transport := &http.Transport{MaxIdleConnsPerHost: workers}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: harness.Patience}
			url := "http://" + stage.Addr(t, "127.0.0.1", "http") + "/"
			send := func(n int64) error {
				method := http.MethodGet
				if n%2 == 0 {
					method = http.MethodPost
				}
				req, err := http.NewRequest(method, url, nil)
				if err != nil {
					return err
				}
				req.Header.Set("X-Number", strconv.FormatInt(n, 10))
				// Some are at work when the endpoint is killed, and have been seen.
				req.Header.Set("X-Echo-Delay", "5ms")
				resp, err := client.Do(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if err == nil && resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s: status %d: %s", method, resp.StatusCode, text)
				}
				return err
			}
			var next, failed atomic.Int64
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for n := next.Add(1); n <= total; n = next.Add(1) {
						if n == killed {
							stage.Upstreams["v1"].Close()
						}
						if err := send(n); err != nil {
							if failed.Add(1) < 20 {
								t.Logf("request %d: %v", n, err)
							}
						}
					}
				})
			}
			wg.Wait()
			if n := failed.Load(); n > total/1000 {
				t.Errorf("%d of %d requests failed, want at most one in a thousand", n, total)
			} else {
				t.Logf("%d of %d requests failed", n, total)
			}
			seen, posts := map[string]string{}, 0
			for _, u := range stage.Upstreams {
				for _, s := range u.Take() {
					number := s.Get("x-number")
					if s.Method != http.MethodPost {
						continue
					}
					posts++
					if first, twice := seen[number]; twice {
						t.Errorf("POST %s: seen by %s and by %s", number, first, s.Upstream)
					}
					seen[number] = s.Upstream
				}
			}
			if posts < total/2-total/1000 {
				t.Errorf("the endpoints saw %d POSTs, want about %d", posts, total/2)
			}
		})
	}
}
