package translate

import (
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreampb "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// upstreamOptions is the key under which Envoy looks for a cluster's HTTP options.
const upstreamOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// cluster is a Service. Its endpoints come by EDS, so that a change of one sends them alone. TCP listeners use the
// same cluster, and do not look at its HTTP options.
func cluster(c *ir.Cluster) *clusterpb.Cluster {
	m := &clusterpb.Cluster{
		Name:                          c.Name,
		ClusterDiscoveryType:          &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS},
		EdsClusterConfig:              &clusterpb.Cluster_EdsClusterConfig{EdsConfig: ads()},
		ConnectTimeout:                duration(c.ConnectTimeout),
		CircuitBreakers:               circuitBreakers(c),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(connectionBuffer),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{upstreamOptions: pack(protocolOptions(c))},
	}
	if c.DNS != nil {
		resolved(m, c)
	}
	if c.TLS != nil {
		m.TransportSocket = upstreamTLS(c.TLS)
	}
	if c.ProxyProtocol != 0 {
		m.TransportSocket = sendProxyHeader(c.ProxyProtocol, m.TransportSocket)
	}
	m.CommonLbConfig = &clusterpb.Cluster_CommonLbConfig{HealthyPanicThreshold: &typepb.Percent{Value: float64(c.PanicThreshold)}}
	balancing(m, c)
	health(m, c)
	return m
}

// protocolOptions says which HTTP the endpoints speak.
func protocolOptions(c *ir.Cluster) *upstreampb.HttpProtocolOptions {
	explicit := &upstreampb.HttpProtocolOptions_ExplicitHttpConfig{}
	if c.HTTP2 {
		explicit.ProtocolConfig = &upstreampb.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
			// For WebSocket and other upgrades (RFC 8441).
			Http2ProtocolOptions: &corepb.Http2ProtocolOptions{AllowConnect: true},
		}
	} else {
		explicit.ProtocolConfig = &upstreampb.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corepb.Http1ProtocolOptions{EnableTrailers: true},
		}
	}
	return &upstreampb.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corepb.HttpProtocolOptions{IdleTimeout: duration(upstreamIdle)},
		UpstreamProtocolOptions: &upstreampb.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: explicit,
		},
	}
}
