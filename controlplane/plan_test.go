package controlplane

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// secure has session ticket keys, which are made, and a certificate, which is too.
const secure = "kind: Gateway\nname: safe\nfleet: safe\nlisteners: [{name: https, port: 8443, protocol: HTTPS, certificates: [safe]}]\n---\n" +
	"{kind: Certificate, name: safe, selfSigned: {hosts: [a.test]}}\n---\n{kind: Service, name: safe, hosts: [a.test], gateways: [safe], endpoints: [127.0.0.1:1]}\n"

// plan asks for one: a plan of files: pairs of relative name and content.
func (r *running) plan(files ...string) *adminv1.PlanResponse {
	r.t.Helper()
	request := &adminv1.PlanRequest{}
	if len(files) > 0 {
		files = append(files, "c.yaml", secure)
	}
	for i := 0; i < len(files); i += 2 {
		request.Files = append(request.Files, &adminv1.DefinitionFile{Path: "mine/" + files[i], Relative: files[i], Data: []byte(files[i+1])})
	}
	answer, err := adminv1.NewDefinitionServiceClient(r.dial()).Plan(r.t.Context(), request)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer
}

// inWords is a plan in short.
func inWords(p *adminv1.PlanResponse) string {
	var parts []string
	for _, d := range p.GetDocuments() {
		parts = append(parts, d.GetChange()+" "+d.GetDocument())
	}
	for _, f := range p.GetFleets() {
		parts = append(parts, "fleet "+f.GetFleet())
		for _, r := range f.GetResources() {
			parts = append(parts, r.GetChange()+" "+r.GetType()+" "+r.GetName())
		}
		for _, x := range f.GetProxies() {
			parts = append(parts, "proxy "+x.GetId())
		}
		for _, d := range f.GetDrains() {
			parts = append(parts, d.GetProxies()+" drains "+d.GetListener())
		}
	}
	for _, n := range p.GetNotes() {
		if strings.Contains(n, "would serve nothing") {
			parts = append(parts, "note "+n)
		}
	}
	for _, x := range p.GetProblems() {
		parts = append(parts, x.GetProblem().GetCode()+" "+x.GetProblem().GetFile())
	}
	return strings.Join(parts, ", ")
}

func TestPlan(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.write("a.yaml", gateway)
	r.write("b.yaml", service(""))
	r.write("c.yaml", secure)
	subscribeAll(r.stream("edge"))
	for name, test := range map[string]struct {
		files []string
		want  string
	}{
		"the same":           {[]string{"a.yaml", gateway, "b.yaml", service("")}, ""},
		"a comment":          {[]string{"a.yaml", "# hello\n" + gateway, "b.yaml", service("")}, ""},
		"in another file":    {[]string{"one.yaml", gateway + "---\n" + service("")}, ""},
		"an endpoint":        {[]string{"a.yaml", gateway, "b.yaml", "{kind: Service, name: api, endpoints: [127.0.0.1:2]}"}, "changed Service/api, fleet edge, changed EDS api, proxy test"},
		"a Service":          {[]string{"a.yaml", gateway, "b.yaml", service("") + "---\n{kind: Service, name: new, endpoints: [127.0.0.1:2]}"}, "added Service/new, SL0603 mine/b.yaml"},
		"a limit":            {[]string{"a.yaml", strings.Replace(gateway, "HTTP}", "HTTP, limits: {streams: 5}}", 1), "b.yaml", service("")}, "changed Gateway/web, fleet edge, changed LDS 127.0.0.1:8080, proxy test, envoy drains 127.0.0.1:8080, sluice drains 127.0.0.1:8080"},
		"another fleet":      {[]string{"a.yaml", strings.Replace(gateway, "edge", "core", 1), "b.yaml", service("")}, "changed Gateway/web, fleet core, added CDS api, added EDS api, added LDS 127.0.0.1:8080, added RDS web/http, added VHDS web/http/shop.example.com, fleet edge, removed CDS api, removed EDS api, removed LDS 127.0.0.1:8080, removed RDS web/http, removed VHDS web/http/shop.example.com, proxy test, envoy drains 127.0.0.1:8080, sluice drains 127.0.0.1:8080, note fleet edge has no listener any more: its connected proxies, 1, would serve nothing"},
		"a Route goes":       {[]string{"a.yaml", strings.Split(gateway, "---")[0], "b.yaml", service("")}, "removed Route/shop, fleet edge, removed CDS api, removed EDS api, changed RDS web/http, removed VHDS web/http/shop.example.com, proxy test, SL0605 mine/a.yaml, SL0603 mine/b.yaml"},
		"a Service in use":   {[]string{"a.yaml", gateway}, "SL0201 " + dir + "/b.yaml"},
		"a bad document":     {[]string{"a.yaml", gateway, "b.yaml", service(", colour: red")}, "SL0107 mine/b.yaml"},
		"a file that breaks": {[]string{"a.yaml", gateway, "b.yaml", "kind: Service\nname: [api"}, "SL0001 mine/b.yaml"},
		"a host served twice": {[]string{"a.yaml", gateway, "b.yaml", service("") + "---\n{kind: Route, name: more, gateways: [web], hosts: [shop.example.com], priority: 1, rules: [{match: {path: {prefix: /x}}, backends: [{service: api}]}]}"},
			"added Route/more, fleet edge, changed VHDS web/http/shop.example.com, proxy test, SL0608 mine/a.yaml"},
		"a rule that never matches": {[]string{"a.yaml", strings.Replace(gateway, "rules: [", "rules: [{backends: [{service: api}]}, {name: late, match: {path: {prefix: /x}}, backends: [{service: api}]}] #", 1), "b.yaml", service("")},
			"changed Route/shop, fleet edge, changed VHDS web/http/shop.example.com, proxy test, SL0601 mine/a.yaml"},
		"nothing at all": {nil, "SL0401 "},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			p := r.plan(test.files...)
			if got := inWords(p); got != test.want {
				t.Errorf("got %q,\nwant %q", got, test.want)
			}
		})
	}
	r.t = t
	p := r.plan("a.yaml", gateway, "b.yaml", "{kind: Service, name: api, endpoints: [127.0.0.1:2]}")
	if got := p.GetFleets()[0].GetResources()[0].GetDiff(); !strings.Contains(got, "-              port_value: 1\n+              port_value: 2") {
		t.Errorf("got the difference\n%s", got)
	}
	if got := p.GetDocuments()[0]; got.GetFile() != "mine/b.yaml" || got.GetLine() != 1 || !strings.HasPrefix(got.GetDiff(), "@@\n-{kind: Service") {
		t.Errorf("got %v", got)
	}
	// It was but a question.
	if status, err := adminv1.NewAdminServiceClient(r.dial()).Status(t.Context(), &adminv1.StatusRequest{}); err != nil || len(status.GetProblems()) > 0 {
		t.Errorf("afterwards: got %v, %v", status.GetProblems(), err)
	}
}

// TestPlanSharedHost: that a host is served twice is told of what begins it, and not again.
func TestPlanSharedHost(t *testing.T) {
	more := "{kind: Route, name: more, gateways: [web], hosts: [shop.example.com], priority: 1, rules: [{match: {path: {prefix: /x}}, backends: [{service: api}]}]}\n"
	r := start(t, t.TempDir(), nil)
	for name, text := range map[string]string{"a.yaml": gateway, "b.yaml": service(""), "c.yaml": secure, "d.yaml": more} {
		r.write(name, text)
	}
	r.log.wait(t, "published.*documents=7", 1)
	if got := inWords(r.plan("a.yaml", gateway, "b.yaml", service(""), "d.yaml", more)); got != "" {
		t.Errorf("got %q, want nothing new", got)
	}
	other := strings.Replace(more, "hosts: [", "hosts: [new.example.com, ", 1)
	third := strings.NewReplacer("more", "third", "/x", "/y", "priority: 1", "priority: 2", "shop.", "new.").Replace(more)
	want := "changed Route/more, added Route/third, fleet edge, added VHDS web/http/new.example.com, SL0608 mine/d.yaml"
	if got := inWords(r.plan("a.yaml", gateway, "b.yaml", service(""), "d.yaml", other+"---\n"+third)); got != want {
		t.Errorf("got %q", got)
	}
}

// TestPlanTellsNoSecrets: neither a plan nor a description has anything of a private key, nor of session ticket keys.
func TestPlanTellsNoSecrets(t *testing.T) {
	dir := t.TempDir()
	pair := func(name, host string) (chain, key []byte) {
		documents, _ := definition.Parse("x", []byte("{kind: Certificate, name: x, selfSigned: {hosts: ["+host+"]}}"))
		chain, key, err := store.NewCertificates().Reader()(documents[0])
		if err != nil {
			t.Fatal(err)
		}
		for file, data := range map[string][]byte{name + ".crt": chain, name + ".key": key} {
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return chain, key
	}
	_, served := pair("one", "a.test")
	chain, other := pair("two", "b.test")
	text := strings.Replace(secure, "selfSigned: {hosts: [a.test]}", "files: {certificate: one.crt, privateKey: one.key}", 1)
	r := start(t, dir, nil)
	r.write("a.yaml", text)
	r.log.wait(t, "published", 1)
	client := adminv1.NewDefinitionServiceClient(r.dial())
	plan, err := client.Plan(t.Context(), &adminv1.PlanRequest{
		Files:     []*adminv1.DefinitionFile{{Path: "a.yaml", Relative: "a.yaml", Data: []byte(text)}},
		Materials: []*adminv1.Material{{Document: "Certificate/safe", Chain: chain, KeySha256: store.KeySum(other)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := inWords(plan); !strings.HasPrefix(got, "fleet safe, changed SDS safe, changed LDS 0.0.0.0:8443") {
		t.Errorf("got %q", got)
	}
	if got := plan.GetFleets()[0].GetResources()[0]; !strings.Contains(got.GetDiff(), "+      - b.test, until") || got.GetPlanned() != "" {
		t.Errorf("got %v", got)
	}
	described, err := client.Describe(t.Context(), &adminv1.DescribeRequest{Document: "Certificate/safe"})
	if err != nil {
		t.Fatal(err)
	}
	answers := fmt.Sprint(plan, described)
	for _, key := range [][]byte{served, other} {
		block, _ := pem.Decode(key)
		for _, secret := range []string{
			string(key[40:80]), base64.StdEncoding.EncodeToString(key)[60:120], base64.StdEncoding.EncodeToString(block.Bytes)[40:80], store.KeySum(key), "PRIVATE KEY",
		} {
			if strings.Contains(answers, secret) {
				t.Errorf("a secret is told: %q", secret)
			}
		}
	}
}

// TestBadPlans are requests that no CLI sends.
func TestBadPlans(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	client := adminv1.NewDefinitionServiceClient(r.dial())
	for name, request := range map[string]*adminv1.PlanRequest{
		"no path":              {Files: []*adminv1.DefinitionFile{{Data: []byte("x")}}},
		"a path twice":         {Files: []*adminv1.DefinitionFile{{Path: "a"}, {Path: "a"}}},
		"a material of nobody": {Materials: []*adminv1.Material{{Document: "x"}}},
	} {
		if _, err := client.Plan(t.Context(), request); grpcstatus.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: got %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Plan(ctx, &adminv1.PlanRequest{}); grpcstatus.Code(err) != codes.Canceled {
		t.Errorf("given up: got %v", err)
	}
}
