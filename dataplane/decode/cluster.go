package decode

import (
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	dnspb "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	upstreampb "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// What Envoy takes where a cluster says nothing.
const (
	defaultConnectTimeout = 5 * time.Second
	defaultBreaker        = 1024
)

// cluster reads a CDS resource.
func (d *decoder) cluster() *config.Cluster {
	m := d.message.(*clusterpb.Cluster)
	c := &config.Cluster{
		Name:           m.GetName(),
		ConnectTimeout: d.positive("connect_timeout", m.GetConnectTimeout(), defaultConnectTimeout),
		IdleTimeout:    defaultIdleTimeout,
		MaxConnections: defaultBreaker,
		MaxPending:     defaultBreaker,
		MaxRequests:    defaultBreaker,
	}
	d.discovery(m, c)
	d.balancing(m, c)
	if s := m.GetTransportSocket(); s != nil {
		c.SendProxyHeader, c.TLS = d.upstreamSocket("transport_socket", s)
	}
	for _, t := range m.GetCircuitBreakers().GetThresholds() {
		// Envoy takes the first of a priority, and the walk has refused all but the default one.
		c.MaxConnections = number(t.GetMaxConnections(), defaultBreaker)
		c.MaxPending = number(t.GetMaxPendingRequests(), defaultBreaker)
		c.MaxRequests = number(t.GetMaxRequests(), defaultBreaker)
		break
	}
	d.retryLimit(m, c)
	c.HealthCheck, c.Outliers = d.healthCheck(m), d.outliers(m)
	for key, packed := range m.GetTypedExtensionProtocolOptions() {
		at := "typed_extension_protocol_options[" + quote(key) + "]"
		options, ok := open[*upstreampb.HttpProtocolOptions](d, packed)
		if !ok {
			continue
		}
		if key != upstreamOptions.Name {
			d.refuse(at, "got the key %s, want %s", quote(key), upstreamOptions.Name)
		}
		c.IdleTimeout = d.duration(at+".common_http_protocol_options.idle_timeout",
			options.GetCommonHttpProtocolOptions().GetIdleTimeout(), defaultIdleTimeout)
		c.HTTP2 = options.GetExplicitHttpConfig().GetHttp2ProtocolOptions() != nil
	}
	if h := c.HealthCheck; h != nil && h.Kind == config.CheckGRPC && !c.HTTP2 {
		d.refuse("health_checks[0].grpc_health_check", "got it in a cluster that does not speak HTTP/2, want http2_protocol_options")
	}
	return c
}

// discovery reads where the endpoints come from.
func (d *decoder) discovery(m *clusterpb.Cluster, c *config.Cluster) {
	if custom := m.GetClusterType(); custom != nil {
		if packed, ok := open[*dnspb.DnsCluster](d, custom.GetTypedConfig()); ok {
			c.DNS = d.dnsCluster("cluster_type.typed_config", packed, m)
		} else {
			d.missing("cluster_type", "got no type, want %s", dnsCluster.Name)
		}
		return
	}
	switch m.GetType() {
	case clusterpb.Cluster_STATIC:
		if m.GetEdsClusterConfig() != nil {
			d.refuse("eds_cluster_config", "got it in a cluster of type STATIC, want EDS")
		}
		if m.GetLoadAssignment() == nil {
			d.refuse("load_assignment", "got none, want the endpoints of a cluster of type STATIC")
			return
		}
		c.Static = d.endpoints("load_assignment", m.GetLoadAssignment())
	case clusterpb.Cluster_STRICT_DNS, clusterpb.Cluster_LOGICAL_DNS:
		c.DNS = d.dnsType(m)
	case clusterpb.Cluster_EDS:
		if m.GetLoadAssignment() != nil {
			d.refuse("load_assignment", "got it in a cluster of type EDS, want STATIC")
		}
		if m.GetEdsClusterConfig() == nil {
			d.refuse("eds_cluster_config", "got none, want where a cluster of type EDS has its endpoints from")
			return
		}
		d.configSource("eds_cluster_config.eds_config", m.GetEdsClusterConfig().GetEdsConfig())
		c.AssignmentName = m.GetEdsClusterConfig().GetServiceName()
		if c.AssignmentName == "" {
			c.AssignmentName = c.Name
		}
	}
}
