package matcher

import (
	"reflect"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/explain"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

const definitions = `kind: Gateway
name: web
listeners: [{name: http, port: 8080, protocol: HTTP}]
---
kind: Route
name: shop
gateways: [web]
hosts: [shop.example.com]
rules:
  - {name: moved, match: {path: {exact: /old}}, redirect: {host: new.example.com, statusCode: 308}}
  - {name: post, match: {path: {prefix: /api}, methods: [POST]}, backends: [{service: v1}]}
  - {name: api, match: {path: {prefix: /api}}, backends: [{service: v1, weight: 3}, {service: v2}], timeout: 1m}
---
kind: Route
name: again
gateways: [web]
hosts: [again.example.com]
retry: {attempts: 2}
rules:
  - {name: a, match: {path: {prefix: /a}}, backends: [{service: v1}], retry: {statusCodes: [429, 503], conditions: [reset]}, mirror: [{service: v2, fraction: 0.5%}, {service: v1, fraction: 0%}]}
  - {name: b, backends: [{service: v1}]}
---
{kind: Service, name: v1}
---
{kind: Service, name: v2}
`

// TestMatch asks the real matcher, through the real translation.
func TestMatch(t *testing.T) {
	documents, problems := definition.Parse("a.yaml", []byte(definitions))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	fleet := compile.Compile(compile.Input{Documents: documents}).Fleets[0]
	m := New()
	notOld := explain.Skipped{Rule: "Route/shop#moved", Reason: "path: got /api/x, want exactly /old"}
	for _, test := range []struct {
		name string
		q    explain.Question
		want explain.Verdict
	}{
		{
			"split", explain.Question{Method: "GET", Authority: "shop.example.com:8080", Path: "/x/../api/x?y"},
			explain.Verdict{
				Path: "/api/x?y", Host: "shop.example.com", Rule: "Route/shop#api", Timeout: "1m",
				Backends: []ir.Backend{{Cluster: "v1", Weight: 3}, {Cluster: "v2", Weight: 1}},
				Skipped:  []explain.Skipped{notOld, {Rule: "Route/shop#post", Reason: `method: got "GET", want "POST"`}},
			},
		},
		{
			"one", explain.Question{Method: "POST", Authority: "shop.example.com", Path: "/api/x"},
			explain.Verdict{
				Path: "/api/x", Host: "shop.example.com", Rule: "Route/shop#post",
				Backends: []ir.Backend{{Cluster: "v1", Weight: 1}}, Skipped: []explain.Skipped{notOld},
			},
		},
		{
			"redirect", explain.Question{Scheme: "http", Method: "GET", Authority: "shop.example.com", Path: "/old?x"},
			explain.Verdict{
				Path: "/old?x", Host: "shop.example.com", Rule: "Route/shop#moved",
				Redirect: &explain.Redirect{Status: 308, Location: "http://new.example.com:8080/old?x"},
			},
		},
		{
			// Such a rule is two routes, of which the first does not take a POST; nobody needs to know.
			"retries", explain.Question{Method: "POST", Authority: "again.example.com", Path: "/b"},
			explain.Verdict{
				Path: "/b", Host: "again.example.com", Rule: "Route/again#b", Retries: "up to 2, on connect-failure, refused-stream, reset-before-request",
				Backends: []ir.Backend{{Cluster: "v1", Weight: 1}}, Skipped: []explain.Skipped{{Rule: "Route/again#a", Reason: "path: got /b, want /a or below it"}},
			},
		},
		{
			"copies", explain.Question{Method: "GET", Authority: "again.example.com", Path: "/a"},
			explain.Verdict{
				Path: "/a", Host: "again.example.com", Rule: "Route/again#a", Retries: "up to 1, on reset, 429, 503",
				Backends: []ir.Backend{{Cluster: "v1", Weight: 1}}, Copies: []explain.Copy{{Service: "v2", Percent: 0.5}},
			},
		},
		{"no host", explain.Question{Method: "GET", Authority: "other.example.com", Path: "/"}, explain.Verdict{Path: "/"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := m.Match(fleet, "web/http", test.q)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Backends) == 1 {
				got.Backends[0].Weight = 1 // one cluster has all, whatever its weight is called
			}
			if !reflect.DeepEqual(*got, test.want) {
				t.Errorf("got  %+v\nwant %+v", *got, test.want)
			}
		})
	}
	if _, err := m.Match(fleet, "web/none", explain.Question{Path: "/"}); err == nil {
		t.Error("a table that is not there: want an error")
	}
}
