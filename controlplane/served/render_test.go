package served

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// host is a virtual host with a rule of each Route.
func host(t *testing.T, routes ...string) *snapshot.Resource {
	t.Helper()
	h := &ir.VirtualHost{Name: "a.test", Host: "a.test"}
	for _, r := range routes {
		h.Rules = append(h.Rules, ir.Rule{ID: "Route/" + r + "#a", Respond: &ir.Response{Status: 200}})
	}
	rt := &ir.RouteTable{Name: "web/http", Hosts: []*ir.VirtualHost{h}}
	resources, err := translate.Fleet(&ir.Fleet{Name: "edge", RouteTables: []*ir.RouteTable{rt}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := snapshot.Build(resources, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Set(resource.VirtualHostType).Get("web/http/a.test")
}

// TestLongLists: of thousands of rules those that change are rendered, and of a few all.
func TestLongLists(t *testing.T) {
	var routes []string
	for i := range 2 * longList {
		routes = append(routes, fmt.Sprintf("r%d-", i))
	}
	changed := append([]string{"new-"}, routes[1:]...)
	old, next, err := RenderBoth(resource.VirtualHostType, host(t, routes...), host(t, changed...))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(old, "r0-") || strings.Contains(old, "r1-") || !strings.Contains(next, "new-") || strings.Contains(next, "r1-") {
		t.Errorf("got\n%s\n%s", old, next)
	}
	if old, next, err = RenderBoth(resource.VirtualHostType, host(t, "one", "two"), host(t, "one", "three")); err != nil ||
		!strings.Contains(old, "Route/one") || !strings.Contains(next, "Route/one") {
		t.Errorf("few: got %v\n%s\n%s", err, old, next)
	}
	if old, next, err = RenderBoth(resource.VirtualHostType, nil, host(t, routes...)); err != nil || old != "" || strings.Count(next, "Route/r") != len(routes) {
		t.Errorf("a new one: got %v\n%s\n%s", err, old, next)
	}
	part, err := RenderPart(resource.VirtualHostType, host(t, routes...), 10, func(list, name string) bool { return list != "routes" || !strings.HasPrefix(name, "Route/r1-") })
	if err != nil || strings.Count(part, "- name: Route/r") != 10 || strings.Contains(part, "r1-") || !strings.HasSuffix(part, fmt.Sprintf("# and %d more items of lists\n", 2*longList-11)) {
		t.Errorf("a part: got %v\n%s", err, part)
	}
}
