package e2e

import (
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestEjectUnderLoad: one of three endpoints is killed under load, with retries, health checks and ejection on. At most one
// request in a thousand fails; and soon none would even without retries, since the dead one gets nothing.
func TestEjectUnderLoad(t *testing.T) {
	const workers, before, after = 8, 1_000, 9_000
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			stage := harness.NewStage(t, []txtar.File{{Name: "web.yaml", Data: []byte(`kind: Gateway
name: web
listeners: [{name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP, accessLog: {disabled: true}}]
---
{kind: Route, name: all, gateways: [web], hosts: [all.example.com], rules: [{retry: {attempts: 2}, backends: [{service: three}]}]}
---
{kind: Route, name: bare, gateways: [web], hosts: [bare.example.com], rules: [{backends: [{service: three}]}]}
---
kind: Service
name: three
endpoints: ["{{upstream "v1"}}", "{{upstream "v2"}}", "{{upstream "v3"}}"]
healthCheck: {http: {}, interval: 200ms, timeout: 2s, unhealthyThreshold: 2}
outlierDetection: {consecutive5xx: 5}
`)}})
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			for _, u := range stage.Upstreams {
				u.CountOnly()
			}
			url := "http://" + stage.Addr(t, "127.0.0.1", "http") + "/"
			load := harness.NewLoader(t, url, "all.example.com", workers)
			if tally := load.Run(before, workers); tally.Failures > 0 {
				t.Fatalf("%d of %d requests failed before: %v", tally.Failures, tally.Requests, tally.Words)
			}
			stop := load.Background(workers)
			stage.Upstreams["v1"].Close()
			for load.So().Requests < after {
				harness.NewLoader(t, url, "all.example.com", 1).Run(100, 1)
			}
			tally := stop()
			if tally.Failures > tally.Requests/1000 {
				t.Errorf("%d of %d requests failed, want at most one in a thousand: %v", tally.Failures, tally.Requests, tally.Words)
			}
			bare := harness.NewLoader(t, url, "bare.example.com", 1).Run(300, 1)
			if bare.Failures > 0 {
				t.Errorf("%d of %d requests without retries failed: the dead endpoint gets some still: %v", bare.Failures, bare.Requests, bare.Words)
			}
			t.Logf("%d of %d requests failed", tally.Failures, tally.Requests)
		})
	}
}
