package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sluice-proxy/sluice/dataplane/decode"
	"github.com/sluice-proxy/sluice/e2e/harness"
	"github.com/sluice-proxy/sluice/xds/features"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

// withoutRetries is what a Go proxy took before it had retries.
func withoutRetries() features.Table {
	table := maps.Clone(decode.Features())
	const message = "envoy.config.route.v3.RouteAction"
	fields := maps.Clone(table[message])
	delete(fields, 9) // retry_policy
	table[message] = fields
	return table
}

// joins plays a Go proxy that takes so much, and asks for routes.
func joins(t *testing.T, server string, table features.Table) *xdstest.Stream {
	t.Helper()
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	node := xdstest.Node("old", harness.Go)
	node.UserAgentName = "sluice-proxy"
	features.Announce(node, table)
	s := xdstest.OpenAs(t, context.Background(), conn, node, true)
	s.Subscribe(resource.ClusterType)
	return s
}

// TestNegotiation has proxies of both kinds, and an older Go proxy, which has no retries. What is new and needs retries waits,
// alone, and is told; the older one is updated: it goes live; it is rolled back: nothing is taken away, and that is told.
func TestNegotiation(t *testing.T) {
	p := startPair(t)
	answers := func(path string, want int) {
		t.Helper()
		for _, kind := range harness.Kinds {
			eventually(t, fmt.Sprintf("%s answers %s with %d", kind, path, want), func() bool {
				request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", p.stage.Ports[kind], path), nil)
				if err != nil {
					t.Fatal(err)
				}
				request.Host = "new.example.com"
				response, err := http.DefaultTransport.RoundTrip(request)
				if err != nil {
					return false
				}
				response.Body.Close()
				return response.StatusCode == want
			})
		}
	}
	route := func(name, extra string) string {
		return fmt.Sprintf("{kind: Route, name: %[1]s, hosts: [new.example.com], gateways: [go, envoy], rules: [{match: {path: {exact: /%[1]s}}, backends: [{service: v1}]%[2]s}]}\n", name, extra)
	}
	old := joins(t, p.cp.Addr, withoutRetries())
	old.Expect("CDS v1 v2")
	next := p.planned(t)
	if err := os.WriteFile(filepath.Join(next, "new.yaml"), []byte("---\n"+route("again", ", retry: {}")+"---\n"+route("once", "")), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"plan", "validate"} {
		r := harness.Run(t, sluice(t), command, "-f", next, "--server", p.cp.Addr)
		told := regexp.MustCompile(`new.yaml:2:\d+: Route/again: fleet sluice-proxy: proxy old \(sluice-proxy\) does not support route field RouteAction.retry_policy`)
		if r.Code != 1 || !told.MatchString(r.Stdout) || strings.Contains(r.Stdout, "+ Route/again") {
			t.Errorf("%s: got exit code %d and no word of what will be held back:\n%s%s", command, r.Code, r.Stdout, r.Stderr)
		}
	}
	p.stage.Put(t, "new.yaml", "---\n"+route("again", ", retry: {}")+"---\n"+route("once", ""))
	answers("/once", http.StatusOK)
	answers("/again", http.StatusNotFound)
	held := regexp.MustCompile(`new.yaml:2:\d+: error SL0703: Route/again: fleet sluice-proxy: proxy old \(sluice-proxy\) does not support route field RouteAction.retry_policy \(.*\); Envoy does \(served in its place: nothing\)`)
	if text := p.cp.Sluice("status"); !held.MatchString(text) {
		t.Errorf("got no word of what is held back:\n%s", text)
	}

	old.Close()
	updated := joins(t, p.cp.Addr, decode.Features())
	answers("/again", http.StatusOK)
	if text := p.cp.Sluice("status"); strings.Contains(text, "SL070") {
		t.Errorf("got a problem, want none:\n%s", text)
	}

	updated.Close()
	joins(t, p.cp.Addr, withoutRetries()).Expect("CDS v1 v2")
	eventually(t, "it is told", func() bool { return strings.Contains(p.cp.Sluice("status"), "warning SL0704") })
	answers("/again", http.StatusOK)
	p.stage.Put(t, "new.yaml", strings.Replace(route("again", ", retry: {attempts: 3}"), "/again", "/anew", 1)+"---\n"+route("once", ""))
	answers("/anew", http.StatusOK)
}
