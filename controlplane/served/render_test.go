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

// table is a route table with a host for each name.
func table(t *testing.T, hosts ...string) *snapshot.Resource {
	t.Helper()
	rt := &ir.RouteTable{Name: "web/http"}
	for _, h := range hosts {
		rt.Hosts = append(rt.Hosts, &ir.VirtualHost{Name: h, Host: h, Rules: []ir.Rule{{ID: "Route/" + h + "#a", Respond: &ir.Response{Status: 200}}}})
	}
	resources, err := translate.Fleet(&ir.Fleet{Name: "edge", RouteTables: []*ir.RouteTable{rt}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := snapshot.Build(resources, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.Set(resource.RouteType).Get("web/http")
}

// TestLongLists: of thousands of hosts those that change are rendered, and of a few all.
func TestLongLists(t *testing.T) {
	var hosts []string
	for i := range 2 * longList {
		hosts = append(hosts, fmt.Sprintf("h%d.test", i))
	}
	changed := append([]string{"new.test"}, hosts[1:]...)
	old, next, err := RenderBoth(resource.RouteType, table(t, hosts...), table(t, changed...))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(old, "h0.test") || strings.Contains(old, "h1.test") || !strings.Contains(next, "new.test") || strings.Contains(next, "h1.test") {
		t.Errorf("got\n%s\n%s", old, next)
	}
	if old, next, err = RenderBoth(resource.RouteType, table(t, "a.test", "b.test"), table(t, "a.test", "c.test")); err != nil ||
		!strings.Contains(old, "a.test") || !strings.Contains(next, "a.test") {
		t.Errorf("few: got %v\n%s\n%s", err, old, next)
	}
	if old, next, err = RenderBoth(resource.RouteType, nil, table(t, hosts...)); err != nil || old != "" || strings.Count(next, "Route/h") != len(hosts) {
		t.Errorf("a new one: got %v\n%s\n%s", err, old, next)
	}
	part, err := RenderPart(resource.RouteType, table(t, hosts...), 10, func(list, name string) bool { return list != "routes" || !strings.HasPrefix(name, "Route/h1.") })
	if err != nil || strings.Count(part, "- name: h") != 10 || strings.Contains(part, "h1.test") || !strings.HasSuffix(part, fmt.Sprintf("# and %d more items of lists\n", 2*longList-11)) {
		t.Errorf("a part: got %v\n%s", err, part)
	}
}
