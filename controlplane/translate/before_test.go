package translate

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// TestBefore: whatever a fleet was before, it becomes the same. Fleets take each other's tables and listeners at random.
func TestBefore(t *testing.T) {
	var all []*ir.Fleet
	for _, f := range fleets() {
		all = append(all, f)
	}
	pick := func() *ir.Fleet { return all[rand.IntN(len(all))] }
	f, before := *pick(), (*Translation)(nil)
	taken := 0
	for range 150 {
		switch rand.IntN(4) {
		case 0:
			f.RouteTables = pick().RouteTables
		case 1:
			f.Listeners = pick().Listeners
		case 2:
			f.Clusters = pick().Clusters
		case 3:
			f = *pick()
		}
		now := f
		got, want := FleetEntries(&now, before), FleetEntries(&now, nil)
		if a, b := got.Entries[resource.VirtualHostType], before; b != nil && len(a) > 0 && len(b.Entries[resource.VirtualHostType]) > 0 && &a[0] == &b.Entries[resource.VirtualHostType][0] {
			taken++
		}
		for _, typ := range resource.PushOrder {
			if diff := cmp.Diff(made(want.Entries[typ.URL]), made(got.Entries[typ.URL]), protocmp.Transform()); diff != "" {
				t.Fatalf("%s: got others after another fleet (+) than alone (-):\n%s", typ.Short, diff)
			}
		}
		before = got
	}
	if taken == 0 {
		t.Error("got nothing from before, want the tables that stayed")
	}
}

// made is what comes of entries.
func made(entries []snapshot.Entry) (out []proto.Message) {
	for _, e := range entries {
		m, err := e.Make(e)
		if err != nil {
			m = nil
		}
		out = append(out, m)
	}
	return out
}

// TestSortedHosts: of listeners that are called http and http-2, too, the list is sorted: else it would not be known again.
func TestSortedHosts(t *testing.T) {
	hosts := []*ir.VirtualHost{{Name: "a.test", Host: "a.test"}}
	f := &ir.Fleet{Name: "f", RouteTables: []*ir.RouteTable{{Name: "web/http", Hosts: hosts}, {Name: "web/http-2", Hosts: hosts}}}
	list := FleetEntries(f, nil).Entries[resource.VirtualHostType]
	if len(list) != 2 || list[0].Name != "web/http-2/a.test" {
		t.Errorf("got %v", list)
	}
}
