package controlplane

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

const upstreamHeader = "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"

func (r *running) without(id string, types ...string) *xdstest.Stream {
	return xdstest.OpenAs(r.t, context.Background(), r.dial(), xdstest.NodeWithout(id, "edge", types...), true)
}

// TestNegotiation has a fleet with a proxy that lacks an extension: what is new and needs it waits, alone; when that proxy
// was updated it goes live; and when it is back as it was nothing is taken away.
func TestNegotiation(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, func(o *Options) { o.KeepFeatures = time.Hour })
	r.write("web.yaml", gateway)
	r.write("api.yaml", service(""))
	r.log.wait(t, "published.*documents=3", 1)
	s := r.stream("edge")
	subscribeAll(s)
	old := r.without("old", upstreamHeader)
	old.Subscribe(resource.ClusterType)
	old.ExpectAck("CDS api")

	// An edit brings what it lacks, and a Service that is new, and an edit of the Route, and a Service that is right, do not.
	const header = ", proxyProtocol: V2"
	more := strings.ReplaceAll(service(header), "name: api", "name: more")
	r.write("all.yaml", "---\n"+more+"---\n"+strings.ReplaceAll(service(""), "name: api", "name: fine"))
	s.Silent(resource.ClusterType) // nobody uses them
	plan := r.plan("web.yaml", gateway, "api.yaml", service(header+", connectTimeout: 2s"), "all.yaml", "---\n"+strings.ReplaceAll(service(""), "name: api", "name: fine"))
	want := fmt.Sprintf("fleet edge: proxy old (envoy 1.30.1) does not support cluster extension %s (%q: transport_socket.typed_config); stock Envoy does", upstreamHeader, "api")
	if got := inWords(plan); !strings.Contains(got, "SL0703 mine/api.yaml") || strings.Contains(got, "Service/api") {
		t.Errorf("plan: got %s, want that it is held back", got)
	}
	for _, p := range plan.GetProblems() {
		if p.GetProblem().GetCode() == "SL0703" && (p.GetProblem().GetMessage() != want || p.GetProblem().GetServing() != "last good version" || p.GetKnown()) {
			t.Errorf("plan: got %v, want %s", p, want)
		}
	}
	r.write("api.yaml", service(header+", connectTimeout: 2s"))
	r.log.wait(t, `msg=problem at=\S*api.yaml:1:\d+ document=Service/api code=SL0703 .*serving="last good version"`, 1)
	s.Silent(resource.ClusterType)
	r.write("web.yaml", strings.Replace(gateway, "rules: [", "rules: [{match: {path: {exact: /fine}}, backends: [{service: fine}]}, {match: {path: {exact: /more}}, backends: [{service: more}]}, ", 1))
	// The Route needs the one that lacks as well, so it waits; but for this rule it does not.
	r.log.wait(t, `msg=problem .*document=Route/shop code=SL0703`, 1)
	r.write("web.yaml", strings.Replace(gateway, "rules: [", "rules: [{match: {path: {exact: /fine}}, backends: [{service: fine}]}, ", 1))
	s.ExpectAck("CDS fine")
	old.ExpectAck("CDS fine")
	s.ExpectAck("VHDS web/http/shop.example.com")
	problems := func(code string) []*adminv1.Problem {
		t.Helper()
		status, err := adminv1.NewAdminServiceClient(r.dial()).Status(context.Background(), &adminv1.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var out []*adminv1.Problem
		for _, p := range status.GetProblems() {
			if p.GetCode() == code {
				out = append(out, p)
			}
		}
		return out
	}
	if p := problems("SL0703"); len(p) != 1 || p[0].GetMessage() != want || p[0].GetDocument() != "Service/api" {
		t.Errorf("status: got %v, want one problem: %s", p, want)
	}

	// It goes, which alone changes nothing for a while; and comes back able.
	old.Close()
	updated := r.without("old")
	updated.Subscribe(resource.ClusterType)
	updated.Expect("CDS api fine")
	s.ExpectAck("CDS api")
	s.ExpectAck("EDS api")
	r.log.wait(t, `msg="problem gone" .*SL0703`, 2)

	// It is rolled back: nobody loses anything, status tells, and edits of what it lacks go on.
	updated.Close()
	again := r.without("old", upstreamHeader)
	again.Subscribe(resource.ClusterType)
	again.Nack(again.Expect("CDS api fine"), "no such extension")
	r.log.wait(t, `level=WARN msg=problem at=\S*api.yaml:1:\d+ document=Service/api code=SL0704 .*does not support`, 1)
	s.Silent(resource.ClusterType)
	r.write("api.yaml", service(header+", connectTimeout: 3s"))
	s.ExpectAck("CDS api")
	s.ExpectAck("EDS api")
	if held, lacking := problems("SL0703"), problems("SL0704"); len(held) != 0 || len(lacking) != 1 {
		t.Errorf("got %v and %v, want a warning", held, lacking)
	}
	if got := inWords(r.plan("web.yaml", gateway, "api.yaml", service(header+", connectTimeout: 4s"))); !strings.Contains(got, "SL0704 mine/api.yaml") || strings.Contains(got, "SL0703") {
		t.Errorf("plan: got %s, want a warning alone", got)
	}
	// What is new and lacks the same waits.
	r.write("web.yaml", strings.Replace(gateway, "rules: [", "rules: [{match: {path: {exact: /fine}}, backends: [{service: fine}]}, {match: {path: {exact: /more}}, backends: [{service: more}]}, ", 1))
	r.log.wait(t, `msg=problem .*document=Route/shop code=SL0703`, 2)
	s.Silent(resource.ClusterType)
}

// TestNegotiationEnds has proxies that went for good: after a while they hold nothing back.
func TestNegotiationEnds(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.KeepFeatures = time.Millisecond })
	r.write("web.yaml", gateway)
	r.write("api.yaml", service(""))
	r.log.wait(t, "published.*documents=3", 1)
	s := r.stream("edge")
	subscribeAll(s)
	old := r.without("old", upstreamHeader)
	old.Subscribe(resource.ClusterType)
	old.ExpectAck("CDS api")
	r.write("api.yaml", service(", proxyProtocol: V2"))
	r.log.wait(t, `msg=problem .*document=Service/api code=SL0703`, 1)
	old.Close()
	s.ExpectAck("CDS api")
}

// TestNegotiationRestart has a control plane that begins anew before any proxy is there again: what was held back still is, until
// the proxy was updated.
func TestNegotiationRestart(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	r := start(t, dir, func(o *Options) { o.StateDir = state })
	r.write("web.yaml", gateway)
	r.write("api.yaml", service(""))
	r.log.wait(t, "published.*documents=3", 1)
	old := r.without("old", upstreamHeader)
	old.Subscribe(resource.ClusterType)
	was := old.ExpectAck("CDS api")
	r.write("api.yaml", service(", proxyProtocol: V2"))
	r.log.wait(t, `msg=problem .*document=Service/api code=SL0703 .*serving="last good version"`, 1)
	r.stop()

	r = start(t, dir, func(o *Options) { o.StateDir = state })
	s := r.stream("edge")
	s.Subscribe(resource.ClusterType)
	if got := s.ExpectAck("CDS api"); got.Versions["api"] != was.Versions["api"] {
		t.Errorf("got the cluster in version %s, want %s, as it was", got.Versions["api"], was.Versions["api"])
	}
	r.log.wait(t, `msg=problem .*document=Service/api code=SL0703 .*serving="last good version"`, 1)
	r.without("old").Subscribe(resource.ClusterType)
	s.ExpectAck("CDS api")
	r.log.wait(t, `msg="problem gone" .*SL0703`, 1)
}
