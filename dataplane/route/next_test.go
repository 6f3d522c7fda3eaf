package route

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// TestNext: after any edits, a table made of the one before answers as one made anew, the hosts that did not change are the
// very same, and the clusters of long ago are forgotten.
func TestNext(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	made := 0
	host := func(domain string) *config.VirtualHost {
		made++
		return &config.VirtualHost{Name: domain, Domains: []string{domain}, Routes: []*config.Route{{
			Clusters: []config.WeightedCluster{{Name: fmt.Sprint("c", made), Weight: 1}, {Name: "shared", Weight: 1}},
			Mirrors:  []config.Mirror{{Cluster: fmt.Sprint("m", made)}},
		}}}
	}
	hosts := []*config.VirtualHost{host("*"), host("*.example.com"), host("a.example.com"), host("b.*")}
	table := New(&config.RouteTable{Hosts: hosts})
	for range 1000 {
		next := append([]*config.VirtualHost(nil), hosts...)
		i := random.IntN(len(next))
		next[i] = host(next[i].Domains[0])
		old := table
		table = Next(old, &config.RouteTable{Hosts: next})
		anew := New(table.Config())
		for _, authority := range []string{"x", "x.example.com", "a.example.com", "b.c"} {
			req, n := &message.Request{Authority: authority, Path: "/"}, random.Uint64()
			got, want := table.Find(req, Given{}), anew.Find(req, Given{})
			if got.Route != want.Route || table.Clusters()[got.Cluster(n)] != anew.Clusters()[want.Cluster(n)] ||
				table.Clusters()[got.Mirror(0)] != anew.Clusters()[want.Mirror(0)] {
				t.Fatalf("%s: got %v, want %v", authority, got.Clusters, want.Clusters)
			}
		}
		if other := hosts[(i+1)%len(hosts)]; len(table.Clusters()) > len(old.Clusters()) && table.hosts[other] != old.hosts[other] {
			t.Fatal("a host that did not change was made anew")
		}
		hosts = next
	}
	if n := len(table.Clusters()); n > 2*table.fresh+110 {
		t.Errorf("got %d clusters, want those of long ago forgotten", n)
	}
}
