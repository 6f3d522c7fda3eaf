package explain

import (
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// fake answers with the first rule of the host that is the authority, and remembers what it was asked.
type fake struct {
	asked Question
	table string
}

func (f *fake) Match(fleet *ir.Fleet, table string, q Question) (*Verdict, error) {
	f.asked, f.table = q, table
	v := &Verdict{Path: q.Path}
	for _, t := range fleet.RouteTables {
		if t.Name != table {
			continue
		}
		for _, h := range t.Hosts {
			if h.Host != "*" && !strings.HasPrefix(q.Authority, h.Host) {
				continue
			}
			v.Host, v.Rule = h.Name, h.Rules[0].ID
			v.Backends = h.Rules[0].Backends
			for _, m := range h.Rules[0].Mirrors {
				v.Copies = append(v.Copies, Copy{m.Cluster, float64(m.Fraction) / 10_000})
			}
			if r := h.Rules[0].Redirect; r != nil {
				v.Redirect = &Redirect{Status: 301, Location: "https://" + q.Authority + q.Path}
			}
			return v, nil
		}
	}
	return v, nil
}

const definitions = `kind: Gateway
name: web
listeners:
  - {name: http, port: 8080, protocol: HTTP, redirect: {scheme: https, port: 8443}}
  - {name: https, port: 8443, protocol: HTTPS, certificates: [shop, wild]}
  - {name: strict, port: 9443, protocol: HTTPS, certificates: [shop], strictSNI: true}
  - {name: lines, port: 7000, protocol: TCP, backends: [{service: v1, weight: 3}, {service: v2}]}
---
kind: Gateway
name: edge
fleet: edge
listeners: [{name: http, port: 8080, protocol: HTTP}]
---
{kind: Certificate, name: shop, selfSigned: {hosts: [shop.example.com]}}
---
{kind: Certificate, name: wild, selfSigned: {hosts: ["*.example.com"]}}
---
kind: Route
name: shop
gateways: [web, edge]
hosts: [shop.example.com, a.example.com]
rules: [{name: all, backends: [{service: v1, weight: 90}, {service: v2, weight: 10}], mirror: [{service: v2, fraction: 0.0125%}]}]
---
{kind: Service, name: v1, endpoints: [10.0.0.1:80, {address: "10.0.0.2:80", drain: true}]}
---
{kind: Service, name: v2}
---
kind: Test
name: good
request: {url: "https://shop.example.com:8443/", headers: {x-one: "1"}}
expect: {route: shop, rule: all, service: v2}
---
kind: Test
name: bad
request: {url: "https://shop.example.com:8443/"}
expect: {route: other, rule: none, service: v3, status: 404, location: "https://x/"}
---
kind: Test
name: nowhere
request: {url: "https://shop.example.com:1/"}
expect: {status: 404}
---
kind: Gateway
name: bytes
listeners:
  - {name: only, port: 9445, protocol: TLS, backends: [{service: v1}]}
  - {name: passed, port: 9444, protocol: TLS, hosts: ["*.passed.test"], backends: [{service: v1}]}
  - {name: ended, port: 9444, protocol: TLS, hosts: [ended.test], certificates: [shop], backends: [{service: v2}]}
`

func compiled(t *testing.T) (*compile.Output, []*definition.Document) {
	t.Helper()
	documents, problems := definition.Parse("a.yaml", []byte(definitions))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	chain, key := certificates(t)
	out := compile.Compile(compile.Input{Documents: documents, Certificates: func(d *definition.Document) ([]byte, []byte, error) {
		return chain[d.Ref.Name], key[d.Ref.Name], nil
	}})
	for _, p := range out.Problems {
		if p.Severity == definition.SeverityError {
			t.Fatal(p)
		}
	}
	return out, documents
}

func TestExplain(t *testing.T) {
	out, _ := compiled(t)
	for _, test := range []struct {
		name string
		req  Request
		// want are lines of the text, not is what must not stand in it, err is the error.
		want []string
		not  string
		err  string
	}{
		{
			name: "https", req: Request{URL: "https://shop.example.com:8443/x?y"},
			want: []string{
				"GET https://shop.example.com:8443/x?y", "listener    0.0.0.0:8443, web/https/shop  (a.yaml:5:5)",
				"rule        Route/shop#all  (a.yaml:22:9)", "goes to       90% Service/v1: 10.0.0.1:80; drained: 10.0.0.2:80", "10% Service/v2: no endpoint: answers 503",
				"timeout     none", "copies      0.0125% to Service/v2",
			},
		},
		{name: "wildcard certificate", req: Request{URL: "https://a.example.com:8443/"}, want: []string{"web/https/wild", "certificate wild"}},
		{name: "unknown server name", req: Request{URL: "https://other.test:8443/"}, want: []string{"web/https/shop/default", "404, no Route on web/https has the host other.test"}},
		{name: "address", req: Request{URL: "https://127.0.0.1:8443/"}, want: []string{"web/https/shop/default"}},
		{name: "strict", req: Request{URL: "https://other.test:9443/"}, want: []string{"handshake is refused", `covers "other.test"`}, not: "rule"},
		{
			name: "Host beside the server name", req: Request{URL: "https://other.test:8443/", Header: []Header{{"Host", "shop.example.com"}}},
			want: []string{"web/https/shop/default", "Route/shop#all"},
		},
		{name: "tcp", req: Request{URL: "tcp://localhost:7000"}, want: []string{"web/lines", "75% Service/v1", "25% Service/v2"}, not: "GET"},
		{name: "passed through", req: Request{URL: "https://a.passed.test:9444"}, want: []string{"bytes/passed  (", "100% Service/v1"}, not: "certificate"},
		{name: "passed through whatever it is", req: Request{URL: "https://127.0.0.1:9445"}, want: []string{"bytes/only/default", "100% Service/v1"}},
		{name: "terminated", req: Request{URL: "https://ended.test:9444"}, want: []string{"bytes/ended/shop", "100% Service/v2"}},
		{name: "passed through for nobody", req: Request{URL: "https://other.test:9444"}, want: []string{"handshake is refused", `takes the server name "other.test"`}},
		{name: "redirecting listener", req: Request{Fleet: "default", URL: "http://shop.example.com:8080/"}, want: []string{"answer      301, Location: https://shop"}},
		{
			name: "two fleets", req: Request{URL: "http://shop.example.com:8080/"},
			want: []string{"fleet       edge", "Note: it may reach these too", "fleet default, web/http on 0.0.0.0:8080"},
		},
		{name: "no port", req: Request{URL: "https://shop.example.com/"}, want: []string{"0.0.0.0:8443", "Note: nothing listens on port 443"}},
		{name: "wrong port", req: Request{URL: "https://shop.example.com:1/"}, err: "nothing listens for https on port 1; there is: "},
		{name: "wrong scheme", req: Request{URL: "http://shop.example.com:8443/"}, err: "nothing listens for http on port 8443"},
		{name: "wrong fleet", req: Request{Fleet: "x", URL: "http://shop.example.com:8080/"}, err: `fleet: got "x", want one of: default, edge`},
		{name: "no URL", req: Request{URL: "shop.example.com"}, err: "want an absolute one"},
		{name: "no port number", req: Request{URL: "http://shop.example.com:99999/"}, err: "want 1 to 65535"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Explain(out, &fake{}, test.req)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			if err := r.Write(&b); err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("want %q in\n%s", want, b.String())
				}
			}
			if test.not != "" && strings.Contains(b.String(), test.not) {
				t.Errorf("want no %q in\n%s", test.not, b.String())
			}
		})
	}
}

func TestRunTests(t *testing.T) {
	out, documents := compiled(t)
	f := &fake{}
	n, problems := RunTests(out, documents, f)
	if n != 3 {
		t.Errorf("got %d tests, want 3", n)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Error())
	}
	outcome := "Route/shop#all (a.yaml:22:9), Service/v1 90% and Service/v2 10%"
	want := []string{
		"Test/bad: expect.route: got " + outcome + ", want Route/other",
		"Test/bad: expect.rule: got " + outcome + ", want rule none",
		"Test/bad: expect.service: got " + outcome + ", want a share for Service/v3",
		"Test/bad: expect.status: got " + outcome + ", want the proxy's own answer 404",
		"Test/bad: expect.location: got " + outcome + ", want a redirect to https://x/",
		"Test/nowhere: request.url: nothing listens for https on port 1; there is: ",
	}
	if len(got) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) || problems[i].Line == 0 || problems[i].Code != definition.CodeTestFailed {
			t.Errorf("got  %s\nwant %s", got[i], want[i])
		}
	}
}
