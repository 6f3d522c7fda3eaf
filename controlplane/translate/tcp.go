package translate

import (
	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// connectAttempts is how many endpoints a TCP connection tries: one that is down costs its clients nothing as long as
// another answers.
const connectAttempts = 3

// tcpProxy carries bytes to one of some clusters.
func tcpProxy(c *ir.FilterChain) *tcppb.TcpProxy {
	m := &tcppb.TcpProxy{
		StatPrefix:         c.Name,
		IdleTimeout:        duration(c.TCP.IdleTimeout),
		MaxConnectAttempts: wrapperspb.UInt32(connectAttempts),
		AccessLog:          accessLogs(c, tcpLog),
	}
	if len(c.TCP.Backends) == 1 {
		m.ClusterSpecifier = &tcppb.TcpProxy_Cluster{Cluster: c.TCP.Backends[0].Cluster}
		return m
	}
	weighted := &tcppb.TcpProxy_WeightedCluster{}
	for _, b := range c.TCP.Backends {
		if b.Weight == 0 {
			// Here, other than in routes, Envoy wants at least 1.
			continue
		}
		weighted.Clusters = append(weighted.Clusters, &tcppb.TcpProxy_WeightedCluster_ClusterWeight{
			Name:   b.Cluster,
			Weight: b.Weight,
		})
	}
	m.ClusterSpecifier = &tcppb.TcpProxy_WeightedClusters{WeightedClusters: weighted}
	return m
}
