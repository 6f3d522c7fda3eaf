package provenance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
)

const world = `kind: Gateway
name: web
fleet: edge
listeners:
  - {name: http, address: 127.0.0.1, port: 8080, protocol: HTTP, hosts: [a.example.com]}
  - {name: tls, address: 127.0.0.1, port: 8443, protocol: TLS, backends: [{service: api}], hosts: [x.example.com]}
---
kind: Gateway
name: more
fleet: edge
listeners:
  - {name: tls, address: 127.0.0.1, port: 8443, protocol: TLS, backends: [{service: api}], hosts: [y.example.com]}
---
kind: Route
name: shop
gateways: [web/http]
hosts: [a.example.com]
rules:
  - {name: all, backends: [{service: api}]}
---
kind: Service
name: api
endpoints: [127.0.0.1:1]
---
kind: Service
name: short
gateways: [web/http]
hosts: [a.example.com]
endpoints: [127.0.0.1:2]
`

func TestFind(t *testing.T) {
	documents, problems := definition.Parse("world.yaml", []byte(world))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	out := compile.Compile(compile.Input{Documents: documents})
	for _, p := range out.Problems {
		if p.Severity == definition.SeverityError {
			t.Fatal(p)
		}
	}
	const cds, eds, sds, lds, rds = resource.ClusterType, resource.EndpointType, resource.SecretType, resource.ListenerType, resource.RouteType
	for _, test := range []struct{ fleet, typeURL, name, want string }{
		{"edge", cds, "api", "world.yaml:22: Service/api"},
		{"edge", eds, "short", "world.yaml:26: Service/short"},
		{"edge", lds, "127.0.0.1:8080", "world.yaml:5: Gateway/web/http"},
		{"edge", lds, "127.0.0.1:8443", "world.yaml:12: Gateway/more/tls, world.yaml:6: Gateway/web/tls"},
		{"edge", rds, "web/http", "world.yaml:5: Gateway/web/http, world.yaml:15: Route/shop, world.yaml:26: Service/short"},
		{"edge", resource.VirtualHostType, "web/http/a.example.com", "world.yaml:15: Route/shop, world.yaml:26: Service/short"},
		{"edge", resource.VirtualHostType, "web/http", ""},
		{"edge", sds, "sluice/session-tickets", ""},
		{"edge", cds, "gone", ""},
		{"other", lds, "127.0.0.1:8080", ""},
		{"edge", "type.example/X", "api", ""},
	} {
		var lines []string
		for _, o := range Find(out, test.fleet, test.typeURL, test.name) {
			lines = append(lines, o.String())
		}
		slices.Sort(lines[min(1, len(lines)):])
		if got := strings.Join(lines, ", "); got != test.want {
			t.Errorf("%s %s: got %q, want %q", test.typeURL, test.name, got, test.want)
		}
	}
	if got := Find(nil, "edge", cds, "api"); got != nil {
		t.Errorf("before the first build: got %v", got)
	}
	// Everything that is served, but for what nobody wrote, came from somewhere.
	for _, f := range out.Fleets {
		resources, err := translate.Fleet(f)
		if err != nil {
			t.Fatal(err)
		}
		for typeURL, all := range resources {
			for name := range all {
				if len(Find(out, f.Name, typeURL, name)) == 0 {
					t.Errorf("%s %q: nobody wrote it", typeURL, name)
				}
			}
		}
	}
}

// TestMost: a table of many Routes names some of them.
func TestMost(t *testing.T) {
	var text strings.Builder
	text.WriteString("kind: Gateway\nname: web\nlisteners: [{name: http, port: 8080, protocol: HTTP}]\n")
	for i := range 100 {
		fmt.Fprintf(&text, "---\nkind: Service\nname: s%d\nhosts: [s%d.example.com]\ngateways: [web]\nendpoints: [127.0.0.1:1]\n", i, i)
	}
	documents, problems := definition.Parse("many.yaml", []byte(text.String()))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	found := Find(compile.Compile(compile.Input{Documents: documents}), "default", resource.RouteType, "web/http")
	if len(found) != most || found[0].Document != "Gateway/web/http" {
		t.Errorf("got %d from %v on, want %d from the Gateway on", len(found), found[:1], most)
	}
}
