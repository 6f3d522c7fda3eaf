package e2e

import (
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const srvDefinitions = `kind: Gateway
name: web
listeners: [{name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}]
---
{kind: Service, name: app, hosts: ["*"], gateways: [web], connectTimeout: TIME, endpoints: ["{{service "_http._tcp.app.test" "v1/0/1" "v2/0/1" "-v3/0/1"}}"], dns: {resolvers: ["{{resolver}}"]}}
`

// TestRecordsUnderLoad: while requests go, SRV records name other servers again and again, their name server fails, the
// Service is edited, and the control plane is killed and begins anew while no name server answers. No request fails.
func TestRecordsUnderLoad(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			files := func(timeout string) []txtar.File {
				return []txtar.File{{Name: "web.yaml", Data: []byte(strings.ReplaceAll(srvDefinitions, "TIME", timeout))}}
			}
			stage := harness.NewStage(t, files("5s"))
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			const name, workers = "_http._tcp.app.test", 8
			loader := harness.NewLoader(t, "http://"+stage.Addr(t, "127.0.0.1", "http")+"/", "", workers)
			end := loader.Background(workers)
			used := func(up string) {
				t.Helper()
				before := stage.Upstreams[up].Count()
				eventually(t, up+" is used", func() bool { return stage.Upstreams[up].Count() > before+100 })
			}
			asked := func() {
				t.Helper()
				before := stage.Server.Asked(name)
				eventually(t, "asked twice", func() bool { return stage.Server.Asked(name) >= before+2 })
			}
			for _, step := range [][]string{{"v3/0/1"}, {"v1/5/1", "v2/5/1"}, {"v2/1/7", "v3/1/1"}} {
				stage.Server.Set(t, append([]string{name}, step...)...)
				last, _, _ := strings.Cut(step[len(step)-1], "/")
				used(last)
			}
			stage.Server.Set(t, name, "servfail")
			asked()
			stage.Write(t, files("4s"))
			cp.WaitSynced("default", 1)
			cp.Kill()
			cp.Launch()
			cp.WaitReady()
			cp.WaitSynced("default", 1)
			used("v2")
			used("v3")
			if text := cp.Sluice("status"); !strings.Contains(text, "SL0606") || !strings.Contains(text, "srv:"+name) || !strings.Contains(text, "what was known last is served: 2 servers") {
				t.Errorf("got no word of the name that does not resolve:\n%s", text)
			}
			stage.Server.Set(t, name, "v1/0/1")
			used("v1")
			tally := end()
			if tally.Failures > 0 {
				t.Errorf("%d of %d requests failed: %v", tally.Failures, tally.Requests, tally.Words)
			}
			t.Logf("%d requests", tally.Requests)
		})
	}
}
