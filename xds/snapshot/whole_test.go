package snapshot_test

import (
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	"google.golang.org/protobuf/proto"
)

func hostsBuilt(t *testing.T, previous *snapshot.Snapshot, more ...proto.Message) *snapshot.Snapshot {
	t.Helper()
	all := append([]proto.Message{xdstest.Table("t"), xdstest.Host("t", "x"), xdstest.Table("t/2"), xdstest.Host("t/2", "x"), xdstest.Routes("plain")}, more...)
	s, err := snapshot.Build(xdstest.Resources(all...), previous)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWhole: a table is put together once for each version of its parts, and one version of RDS stands for both forms.
func TestWhole(t *testing.T) {
	one := hostsBuilt(t, nil)
	if first, second := one.Whole(), one.Whole(); first != second {
		t.Error("made twice")
	}
	two := hostsBuilt(t, one, xdstest.Host("t", "y"))
	whole := two.Whole()
	rds, vhds := resource.RouteType, resource.VirtualHostType
	if one.Version(rds) == two.Version(rds) || whole.Version(rds) != two.Version(rds) || two.Version(vhds) != two.Version(rds) {
		t.Errorf("versions: got %s, then %s, whole %s", one.Version(rds), two.Version(rds), whole.Version(rds))
	}
	if changed := two.Set(rds).Changed(one.Set(rds)); len(changed) > 0 {
		t.Errorf("RDS: got %q changed, want nothing: a host came", changed)
	}
	if changed := whole.Set(rds).Changed(one.Whole().Set(rds)); len(changed) != 1 || changed[0] != "t" {
		t.Errorf("whole RDS: got %q changed, want t", changed)
	}
	if whole.Set(vhds).Len() != 0 || whole.Set(rds).Len() != 3 {
		t.Errorf("whole: got %d hosts apart and %d tables", whole.Set(vhds).Len(), whole.Set(rds).Len())
	}
	if hosts := two.Set(vhds).Hosts("t"); len(hosts) != 2 || hosts[0].Name != "t/x" || hosts[1].Name != "t/y" {
		t.Errorf("hosts of t: got %v", hosts)
	}
	if again := hostsBuilt(t, two, xdstest.Host("t", "y")); again != two {
		t.Error("the same again is another snapshot")
	}
}

// TestHostWithoutTable: a host that no table asks for would be lost.
func TestHostWithoutTable(t *testing.T) {
	_, err := snapshot.Build(xdstest.Resources(xdstest.Routes("t"), xdstest.Host("t", "x")), nil)
	if err == nil || !strings.Contains(err.Error(), `VHDS "t/x": belongs to RDS "t"`) {
		t.Errorf("got %v", err)
	}
}
