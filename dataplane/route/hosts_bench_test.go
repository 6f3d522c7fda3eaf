package route

import (
	"fmt"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// BenchmarkHosts finds one of ten prefixes of one of so many hosts, a thousand of these in turn: what the caches of the
// processor forget meanwhile is a part of the cost.
func BenchmarkHosts(b *testing.B) {
	for _, hosts := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			t := &config.RouteTable{}
			for i := range hosts {
				v := &config.VirtualHost{Domains: []string{fmt.Sprintf("host-%d.many.bench.test", i)}}
				for j := range 10 {
					v.Routes = append(v.Routes, &config.Route{
						Name:     fmt.Sprintf("Route/host-%d#%d", i, j),
						Match:    config.Match{PathKind: config.PathSeparatedPrefix, Path: fmt.Sprintf("/r/%d", j)},
						Clusters: []config.WeightedCluster{{Name: "origin", Weight: 1}},
					})
				}
				t.Hosts = append(t.Hosts, v)
			}
			table := New(t)
			requests := make([]message.Request, 1000)
			for i := range requests {
				requests[i].Authority = fmt.Sprintf("host-%d.many.bench.test", i*hosts/len(requests))
				requests[i].Path = fmt.Sprintf("/r/%d/x", i%10)
			}
			trash := make([]byte, 1<<20)
			b.ResetTimer()
			for i := range b.N {
				r := table.Find(&requests[i%len(requests)], Given{})
				if r == nil || r.Cluster(7) != 0 || r.Timeout != 0 || r.Redirect != nil {
					b.Fatal("not found")
				}
				// What else a request touches.
				for j := 0; j < 32<<10; j += 64 {
					trash[(i*(32<<10)+j)&(len(trash)-1)]++
				}
			}
		})
	}
}
