package assemble_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/assemble"
	"github.com/sluice-proxy/sluice/xds/resource"
)

const vhds = resource.VirtualHostType

// apart is a table whose hosts come by VHDS.
func apart(name string) string {
	return fmt.Sprintf(`{"name":%q,"vhds":{"config_source":%s}}`, name, ads)
}

// host is one of a table's.
func host(table, domain, cluster string) string {
	return fmt.Sprintf(`{"name":"%s/%s","domains":[%q],"routes":[{"match":{"prefix":"/"},"route":{"cluster":%q,"timeout":"0s"}}]}`, table, domain, domain, cluster)
}

// TestTableWaitsForHosts: as in Envoy, a table serves when something of it has come, though it be a removal, or after 15 s.
func TestTableWaitsForHosts(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(r *rig)
		want string
	}{
		"until one comes":      {func(r *rig) { r.send(vhds, host("t2", "x", "a")) }, "R:t2>a"},
		"until one is removed": {func(r *rig) { r.send(vhds, "-t2/none") }, "R:t2> "},
		"until it is late": {func(r *rig) {
			time.Sleep(15 * time.Second)
			synctest.Wait()
		}, "R:t2> "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := warm(t)
				r.accept("", lds, listener("web", 80, "t2"))
				r.accept("", rds, apart("t2"))
				r.wants("VHDS", "*")
				r.accept("", vhds)
				r.accept("", vhds, host("other", "x", "a"))
				tt.end(r)
				if got := r.got(); !strings.Contains(got, tt.want) || !strings.HasPrefix(got, "L:web=80>t2 ") {
					t.Errorf("applied: got %q, want %q in it", got, tt.want)
				}
			})
		})
	}
}

// TestHosts: one host's change makes another table of the very same other hosts, and waits for its own clusters alone.
func TestHosts(t *testing.T) {
	r := warm(t)
	r.send(lds, listener("web", 80, "t2"))
	r.send(rds, apart("t2"))
	r.send(vhds, host("t2", "x", "a"), host("t2", "y", "a"))
	r.got()
	before := r.last.RouteTables["t2"]
	r.accept("", cds, cluster("a", "1s", ""), cluster("new", "1s", ""))
	r.accept("", vhds, host("t2", "x", "new"))
	r.send(eds, endpoints("new", 1))
	if got := r.got(); !strings.Contains(got, "R:t2>new+a ") {
		t.Errorf("applied: got %q", got)
	}
	if after := r.last.RouteTables["t2"]; after == before || after.Hosts[1] != before.Hosts[1] {
		t.Error("want another table, with the host that did not change")
	}
	if refused := r.send(vhds, host("t2", "y", "a"), strings.Replace(host("t2", "z", "a"), `["z"]`, `["x"]`, 1)); len(refused) != 1 || refused["t2/z"] == nil ||
		refused["t2/z"].Error() != `virtual host "t2/z": domains: got "x", which virtual host "t2/x" has` {
		t.Errorf("refused: got %v", refused)
	}
	if got := r.serves(); !strings.Contains(got, "RDS t2@") || !strings.Contains(got, "VHDS t2/x@") {
		t.Errorf("serves: got %s", got)
	}
	dump, err := r.ConfigDump(nil)
	if err != nil || !strings.Contains(strings.ReplaceAll(string(dump), " ", ""), `"name":"t2/x"`) {
		t.Errorf("dump: %v: want the host in it:\n%s", err, dump)
	}
	r.send(vhds, "-t2/x")
	if got := r.got(); !strings.Contains(got, "R:t2>a ") {
		t.Errorf("applied: got %q", got)
	}
}

// TestHostsGoWithTheirTable: as in Envoy, a table that nobody refers to any more takes its hosts with it, and hosts of a table that
// is not there are lost: the control plane sends them again with their table, and not that one of them has gone since.
func TestHostsGoWithTheirTable(t *testing.T) {
	r := warm(t)
	r.send(lds, listener("web", 80, "t2"))
	r.send(rds, apart("t2"))
	r.send(vhds, host("t2", "x", "a"), host("t2", "y", "a"))
	r.send(lds, "-web")
	r.send(vhds, host("t2", "z", "a"))
	if got := r.serves(); strings.Contains(got, "VHDS t2") {
		t.Errorf("serves: got %s, want no hosts", got)
	}
	r.send(lds, listener("web", 80, "t2"))
	r.send(rds, apart("t2"))
	r.send(vhds, host("t2", "y", "a"))
	r.got()
	var names []string
	for _, h := range r.last.RouteTables["t2"].Hosts {
		names = append(names, h.Name)
	}
	if len(names) != 1 || names[0] != "t2/y" {
		t.Errorf("got hosts %v, want the one that came with the table", names)
	}
}

func TestNoHostsApartInStateOfTheWorld(t *testing.T) {
	r := newRig(t, func(o *assemble.Options) { o.StateOfTheWorld = true })
	r.send(lds, listener("web", 80, "t"))
	if refused := r.send(rds, apart("t")); refused["t"] == nil || !strings.Contains(refused["t"].Error(), `route table "t": vhds: got it in state of the world`) {
		t.Errorf("refused: got %v", refused)
	}
}
