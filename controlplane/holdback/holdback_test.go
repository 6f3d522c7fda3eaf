package holdback

import (
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/negotiate"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// TestDocumentOf: what is lacking is told of the document that brought it, or of the Gateway that has it.
func TestDocumentOf(t *testing.T) {
	at := func(line int) definition.Position { return definition.Position{File: "a.yaml", Line: line} }
	rules := func(ids ...string) (out []ir.Rule) {
		for _, id := range ids {
			out = append(out, ir.Rule{ID: id})
		}
		return out
	}
	result := &store.Result{Compiled: &compile.Output{
		Fleets: []*ir.Fleet{{Name: "edge", RouteTables: []*ir.RouteTable{{Name: "web/http", Hosts: []*ir.VirtualHost{
			{Name: "one.test", Rules: rules("Route/a#1", "Route/a#2")}, {Name: "two.test", Rules: rules("Route/a#1", "Route/b#1")}, {Name: "short.test", Rules: rules("Route/s#1")},
		}}}}},
		Origins: func() map[string]definition.Position {
			return map[string]definition.Position{"Route/a": at(1), "Route/b": at(2), "Service/s": at(3), "Gateway/web/http": at(4)}
		},
	}}
	for _, c := range []struct {
		url, name, want string
		line            int
	}{
		{resource.VirtualHostType, "web/http/one.test", "Route/a", 1},
		{resource.VirtualHostType, "web/http/two.test", "Gateway/web", 4},
		{resource.RouteType, "web/http", "Gateway/web", 4},
		{resource.VirtualHostType, "web/http/short.test", "Service/s", 3},
		{resource.ClusterType, "s", "Service/s", 3},
		{resource.ClusterType, "gone", "", 0},
	} {
		ref, got := documentOf(result, negotiate.Lack{Fleet: "edge", TypeURL: c.url, Resource: c.name})
		if ref == (definition.Ref{}) && c.want != "" || ref != (definition.Ref{}) && ref.String() != c.want || got.Line != c.line {
			t.Errorf("%s: got %v at %v, want %q in line %d", c.name, ref, got, c.want, c.line)
		}
	}
}
