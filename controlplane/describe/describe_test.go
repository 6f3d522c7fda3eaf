package describe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

const definitions = `kind: Gateway
name: web
fleet: edge
listeners:
  - {name: https, port: 8443, protocol: HTTPS, certificates: [a, b]}
  - {name: db, port: 5432, protocol: TCP, backends: [{service: db}]}
  - {name: lost, port: 1, protocol: HTTPS, certificates: [nope]}
---
{kind: Certificate, name: a, selfSigned: {hosts: [a.test]}}
---
{kind: Certificate, name: b, selfSigned: {hosts: [b.test]}}
---
kind: Route
name: shop
gateways: [web/https]
hosts: [a.test, b.test]
rules:
  - {name: api, match: {path: {prefix: /api}}, backends: [{service: api}]}
---
kind: Route
name: rest
gateways: [web/https]
hosts: [a.test]
rules: [{name: all, backends: [{service: api}], mirror: [{service: copy}]}]
---
{kind: Route, name: bad, gateways: [web/https], rules: [{backends: [{service: nope}]}]}
---
{kind: Service, name: api, endpoints: [127.0.0.1:1]}
---
{kind: Service, name: db, endpoints: [127.0.0.1:2]}
---
{kind: Service, name: copy, endpoints: ["copy.test:3"]}
---
{kind: Service, name: alone, endpoints: [127.0.0.1:4]}
---
{kind: Service, name: own, hosts: [own.test], gateways: [web/https], endpoints: [127.0.0.1:5]}
---
{kind: Service, name: api-two, endpoints: [127.0.0.1:4], colour: red}
`

// describer serves texts, one after the other, to proxies whose RDS is refused by the second.
func describer(t *testing.T, texts ...string) *Describer {
	t.Helper()
	s, err := store.Open(store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var files store.Files
	now := &served.Served{Fleets: map[string]served.Fleet{}}
	for _, text := range texts {
		now.Result = s.Update(files.Set([]source.File{{Path: "a.yaml", Data: []byte(text)}}))
	}
	for _, f := range now.Result.Compiled.Fleets {
		resources, err := translate.Fleet(f)
		if err != nil {
			t.Fatal(err)
		}
		built, err := snapshot.Build(resources, nil)
		if err != nil {
			t.Fatal(err)
		}
		now.Fleets[f.Name] = served.Fleet{IR: f, Snapshot: built}
	}
	return New(Options{Served: func() *served.Served { return now }, Proxies: func(fleet string) []status.Proxy {
		var list []status.Proxy
		for _, id := range []string{"one", "two", "gone"} {
			p := status.Proxy{ID: id, Fleet: fleet, Agent: "envoy", Connected: id != "gone"}
			for _, t := range resource.PushOrder {
				one := status.Type{URL: t.URL, Short: t.Short, State: status.Synced}
				if id == "two" && (t.Short == "RDS" || t.Short == "VHDS") {
					one.State, one.Error = status.Error, "I do not like it"
				}
				p.Types = append(p.Types, one)
			}
			list = append(list, p)
		}
		return list
	}})
}

func TestList(t *testing.T) {
	d := describer(t, definitions)
	list := func(kind string) []string {
		answer, err := d.List(&adminv1.ListRequest{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, x := range answer.GetDocuments() {
			lines = append(lines, fmt.Sprintf("%s %s %v %d %s:%d", x.GetDocument(), x.GetState(), x.GetFleets(), x.GetProblems(), x.GetFile(), x.GetLine()))
		}
		return lines
	}
	want := []string{
		"Certificate/a served [edge] 0 a.yaml:9", "Certificate/b served [edge] 0 a.yaml:11", "Gateway/web served in part [edge] 1 a.yaml:2",
		"Route/bad not served [] 1 a.yaml:26", "Route/rest served [edge] 0 a.yaml:21", "Route/shop served [edge] 1 a.yaml:14",
		"Service/alone served [] 0 a.yaml:34", "Service/api served [edge] 0 a.yaml:28", "Service/api-two not served [] 1 a.yaml:38",
		"Service/copy served [edge] 0 a.yaml:32", "Service/db served [edge] 0 a.yaml:30", "Service/own served [edge] 0 a.yaml:36",
	}
	if got := list(""); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := list("Service"); len(got) != 6 {
		t.Errorf("Services: got %q", got)
	}
	again := describer(t, definitions, strings.Replace(definitions, "127.0.0.1:2]", "127.0.0.1:2], colour: red", 1))
	if answer, err := again.List(&adminv1.ListRequest{Kind: "Service"}); err != nil || answer.GetDocuments()[4].GetState() != lastGood {
		t.Errorf("a last good version: got %v, %v", answer, err)
	}
}

func TestDescribe(t *testing.T) {
	d := describer(t, definitions)
	for document, test := range map[string]struct {
		state, users, resources string
		lacks                   bool // proxy two does not run it
		has, hasNot             []string
	}{
		"Route/shop": {asWritten, "", "VHDS web/https/a.test, VHDS web/https/b.test", true,
			[]string{"Route/shop#api", "domains:\n  - a.test", "domains:\n  - b.test"}, []string{"Route/rest"}},
		"Route/rest":    {asWritten, "", "VHDS web/https/a.test", true, []string{"Route/rest#all"}, []string{"Route/shop", "b.test"}},
		"Route/bad":     {notServed, "", "", false, nil, nil},
		"Service/api":   {asWritten, "Route/rest Route/shop", "CDS api, EDS api", false, []string{"port_value: 1"}, nil},
		"Service/copy":  {asWritten, "Route/rest", "CDS copy", false, []string{"copy.test"}, nil}, // its proxies look it up
		"Service/db":    {asWritten, "Gateway/web", "CDS db, EDS db", false, nil, nil},
		"Service/alone": {asWritten, "", "", false, nil, nil},
		"Service/own":   {asWritten, "", "CDS own, EDS own, VHDS web/https/own.test", true, []string{"Route/own#any"}, nil}, // its own hosts are its own
		"Certificate/a": {asWritten, "", "SDS a, LDS 0.0.0.0:8443", false,
			[]string{"private_key:\n    inline_string: '[redacted]'", "- a.test, until", "name: web/https/a"}, []string{"name: web/https/b", "PRIVATE", "LS0t"}},
		"Gateway/web":     {inPart, "", "LDS 0.0.0.0:5432, LDS 0.0.0.0:8443, RDS web/https", true, []string{"web/https/b"}, nil},
		"Service/api-two": {notServed, "", "", false, nil, nil},
	} {
		t.Run(document, func(t *testing.T) {
			got, err := d.Describe(t.Context(), &adminv1.DescribeRequest{Document: document})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			all := ""
			for _, r := range got.GetResources() {
				names = append(names, r.GetType()+" "+r.GetName())
				all += r.GetYaml()
			}
			if got.GetState() != test.state || strings.Join(got.GetUsedBy(), " ") != test.users || strings.Join(names, ", ") != test.resources {
				t.Errorf("got %s, used by %q, %q", got.GetState(), got.GetUsedBy(), names)
			}
			for _, want := range test.has {
				if !strings.Contains(all, want) {
					t.Errorf("want %q in\n%s", want, all)
				}
			}
			for _, want := range test.hasNot {
				if strings.Contains(all, want) {
					t.Errorf("do not want %q in\n%s", want, all)
				}
			}
			refused := "RDS"
			if strings.Contains(test.resources, "VHDS") {
				refused = "VHDS"
			}
			for _, p := range got.GetProxies() {
				if want := p.GetId() == "one" || p.GetId() == "two" && !test.lacks; p.GetRuns() != want {
					t.Errorf("%s: got %v", p.GetId(), p)
				}
				if p.GetId() == "two" && test.lacks && !slices.Equal(p.GetLacks(), []string{refused + " ERROR: I do not like it"}) {
					t.Errorf("got %v", p.GetLacks())
				}
			}
			if len(got.GetProxies()) != map[bool]int{true: 3}[test.resources != ""] {
				t.Errorf("got %d proxies", len(got.GetProxies()))
			}
		})
	}
}

func TestDescribeNothing(t *testing.T) {
	d := describer(t, definitions)
	for document, want := range map[string]struct {
		code codes.Code
		text string
	}{
		"Service/shop": {codes.NotFound, "there is no Service/shop, but Route/shop"},
		"Route/shops":  {codes.NotFound, "there is no Route/shops, but Route/bad, Route/rest, Route/shop"},
		"Other/x":      {codes.NotFound, "there is no Other/x"},
		"shop":         {codes.InvalidArgument, `got "shop", want kind/name, such as Route/shop`},
	} {
		_, err := d.Describe(t.Context(), &adminv1.DescribeRequest{Document: document})
		if s, _ := grpcstatus.FromError(err); s.Code() != want.code || s.Message() != want.text {
			t.Errorf("%s: got %v", document, err)
		}
	}
	early := New(Options{Served: func() *served.Served { return nil }})
	if _, err := early.List(&adminv1.ListRequest{}); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("before the first build: got %v", err)
	}
}

// TestDescribeTroubled: what a proxy refuses of others is nothing to a document.
func TestDescribeTroubled(t *testing.T) {
	d := describer(t, definitions)
	asked := 0
	d.opts.Troubled = func(_ context.Context, fleet, id string) ([]status.Resource, error) {
		asked++
		if fleet != "edge" || id != "two" {
			t.Errorf("got a question about %s/%s", fleet, id)
		}
		return []status.Resource{{Ref: status.Ref{URL: resource.VirtualHostType, Short: "VHDS", Name: "web/https/b.test"}, State: status.Error, Error: "not this"}}, nil
	}
	for document, want := range map[string][]string{"Route/rest": nil, "Route/shop": {"VHDS web/https/b.test ERROR: not this"}, "Service/db": nil} {
		got, err := d.Describe(t.Context(), &adminv1.DescribeRequest{Document: document})
		if err != nil {
			t.Fatal(err)
		}
		two := got.GetProxies()[1]
		if !slices.Equal(two.GetLacks(), want) || two.GetRuns() != (want == nil) {
			t.Errorf("%s: got %v, want %q", document, two, want)
		}
	}
	if asked != 2 {
		t.Errorf("got %d questions, want none where all of the types is accepted", asked)
	}
}

// TestUndone: what an undo serves is not what is written.
func TestUndone(t *testing.T) {
	if got := state(true, []store.Problem{{Problem: definition.Problem{Code: definition.CodeUndone}}}, nil); got != earlier {
		t.Errorf("got %q, want %q", got, earlier)
	}
}
