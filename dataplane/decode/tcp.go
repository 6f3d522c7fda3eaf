package decode

import (
	"fmt"

	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// tcp reads a TCP proxy.
func (d *decoder) tcp(at string, m *tcppb.TcpProxy) *config.TCP {
	t := &config.TCP{
		IdleTimeout:        d.duration(at+".idle_timeout", m.GetIdleTimeout(), defaultIdleTimeout),
		MaxConnectAttempts: number(m.GetMaxConnectAttempts(), 1),
		AccessLogs:         d.accessLogs(at+".access_log", m.GetAccessLog()),
	}
	if t.MaxConnectAttempts == 0 {
		d.refuse(at+".max_connect_attempts", "got 0, want 1 or more")
	}
	switch s := m.GetClusterSpecifier().(type) {
	case *tcppb.TcpProxy_Cluster:
		if s.Cluster == "" {
			d.refuse(at+".cluster", `got "", want a name`)
		}
		t.Clusters = []config.WeightedCluster{{Name: s.Cluster, Weight: 1}}
	case *tcppb.TcpProxy_WeightedClusters:
		for i, c := range s.WeightedClusters.GetClusters() {
			if c.GetName() == "" {
				d.refuse(fmt.Sprintf("%s.weighted_clusters.clusters[%d].name", at, i), `got "", want a name`)
			}
			t.Clusters = append(t.Clusters, config.WeightedCluster{Name: c.GetName(), Weight: c.GetWeight()})
		}
		d.weights(at+".weighted_clusters", t.Clusters, nil)
	default:
		d.missing(at, "got no cluster, want cluster or weighted_clusters")
	}
	return t
}
