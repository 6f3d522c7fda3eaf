package e2e

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestNamesUnderLoad: while requests go, a name gets other addresses again and again, and the Service is edited too. No
// request fails.
func TestNamesUnderLoad(t *testing.T) {
	const text = `kind: Gateway
name: web
listeners: [{name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}]
---
{kind: Service, name: app, hosts: ["*"], gateways: [web], connectTimeout: TIME, endpoints: ["{{named "app.test" "v1" "v2" "-v3"}}"], dns: {resolvers: ["{{resolver}}"]}}
`
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			files := func(timeout string) []txtar.File {
				return []txtar.File{{Name: "web.yaml", Data: []byte(strings.ReplaceAll(text, "TIME", timeout))}}
			}
			stage := harness.NewStage(t, files("5s"))
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			const workers = 8
			loader := harness.NewLoader(t, "http://"+stage.Addr(t, "127.0.0.1", "http")+"/", "", workers)
			end := loader.Background(workers)
			// Whoever comes is waited for, so that each change is seen.
			for i, step := range [][]string{{"v3"}, {"v1", "v2"}, {"v2", "v3"}, {"servfail"}, {"v1"}, {"v2", "v3"}} {
				stage.Server.Set(t, append([]string{"app.test"}, step...)...)
				switch {
				case step[0] == "servfail":
					asked := stage.Server.Asked("app.test")
					eventually(t, "asked thrice", func() bool { return stage.Server.Asked("app.test") >= asked+3 })
				default:
					up := stage.Upstreams[step[len(step)-1]]
					before := up.Count()
					eventually(t, step[len(step)-1]+" is used", func() bool { return up.Count() > before+100 })
				}
				// Not while the name server fails: Envoy makes an edited cluster anew, and it begins without endpoints then.
				if i == 4 {
					stage.Write(t, files("4s"))
					cp.WaitSynced("default", 1)
				}
			}
			tally := end()
			if tally.Failures > 0 {
				t.Errorf("%d of %d requests failed: %v", tally.Failures, tally.Requests, tally.Words)
			}
			t.Logf("%d requests", tally.Requests)
		})
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(harness.Patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestNamesShow: the admin server of the Go proxy tells which name an endpoint was found by, and how its name has done.
func TestNamesShow(t *testing.T) {
	t.Parallel()
	scenario, err := harness.ReadScenario("testdata/dns.txtar")
	if err != nil {
		t.Fatal(err)
	}
	stage := harness.NewStage(t, scenario.Files)
	cp := harness.StartControlPlane(t, stage.Dir)
	proxy := harness.StartProxy(t, harness.Kinds[0], cp.Addr, "default", "p")
	proxy.WaitReady()
	for path, want := range map[string]string{
		"/clusters":             "app::" + stage.Upstreams["v1"].Addr + "::hostname::app.test\n",
		"/clusters?format=json": `"hostname": "app.test"`,
		"/stats/prometheus":     `sluice_dns_resolutions_total{name="app.test"}`,
		"/stats/prometheus?":    `sluice_dns_failures_total{name="app.test"} 0`,
		"/stats/prometheus?age": `sluice_dns_answer_age_seconds{name="app.test"}`,
	} {
		if body := proxy.AdminGet(path); !strings.Contains(strings.ReplaceAll(body, `":"`, `": "`), want) {
			t.Errorf("%s: got no %s in\n%s", path, want, body)
		}
	}
}

func TestNamesAndSocketsExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "names-and-sockets")
			const file = "names-and-sockets.yaml"
			path := filepath.Join(harness.ShortDir(t), "web.sock")
			e.Put(t, file, strings.ReplaceAll(e.Text(t, file), "/tmp/sluice-example.sock", path))
			e.demo(t, "app", "9001")
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			for _, addr := range []string{e.addr(t, "8080"), "unix:" + path} {
				a := harness.Do(&harness.Request{Method: "GET", Proto: "HTTP/1.1", Addr: addr, Authority: "shop.example.com", Path: "/"}, false)
				if a.Status != 200 || !strings.Contains(string(a.Body), "app") {
					t.Errorf("%s: got %d %q %s, want app's 200", addr, a.Status, a.Body, a.Refused)
				}
			}
		})
	}
}
