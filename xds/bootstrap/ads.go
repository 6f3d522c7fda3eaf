package bootstrap

import (
	"net"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreampb "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/sluice-proxy/sluice/xds/client"
)

// Envoy's own, where the file says nothing.
const (
	defaultBackoffBase    = 500 * time.Millisecond
	defaultBackoffMax     = 30 * time.Second
	defaultConnectTimeout = 5 * time.Second
)

// ads reads ads_config and the cluster that it names.
func (r *reader) ads(field string, s *corepb.ApiConfigSource, clusters []*clusterpb.Cluster) *ADS {
	a := &ADS{BackoffBase: defaultBackoffBase, BackoffMax: defaultBackoffMax}
	switch s.ApiType {
	case corepb.ApiConfigSource_GRPC:
		a.StateOfTheWorld = true
	case corepb.ApiConfigSource_DELTA_GRPC:
	default:
		r.refuse(field+".api_type", "got %v, want GRPC or DELTA_GRPC: %s", s.ApiType, notSupported)
	}
	if s.TransportApiVersion != corepb.ApiVersion_V3 {
		r.refuse(field+".transport_api_version", "got %v, want V3", s.TransportApiVersion)
	}
	if len(s.GrpcServices) != 1 {
		r.refuse(field+".grpc_services", "got %d, want 1: %s", len(s.GrpcServices), notSupported)
		return a
	}
	field = at(field+".grpc_services", 0)
	service := s.GrpcServices[0]
	for i, h := range service.InitialMetadata {
		if h.Key == "" {
			r.refuse(at(field+".initial_metadata", i)+".key", `got "", want a name`)
		}
		a.Target.Metadata = append(a.Target.Metadata, h.Key, h.Value)
	}
	grpc := service.GetEnvoyGrpc()
	field += ".envoy_grpc"
	if grpc == nil {
		r.refuse(field, "got none, want one: %s", notSupported)
		return a
	}
	a.Cluster = grpc.ClusterName
	a.Target.Authority = grpc.Authority
	a.Target.MaxMessage = int(grpc.MaxReceiveMessageLength.GetValue())
	if b := grpc.RetryPolicy.GetRetryBackOff(); b != nil {
		r.backoff(field+".retry_policy.retry_back_off", b, a)
	}
	path, c := r.find(field+".cluster_name", grpc.ClusterName, clusters)
	if c != nil {
		r.cluster(path, c, &a.Target)
	}
	return a
}

// backoff reads the intervals; the longest is ten times the base unless written.
func (r *reader) backoff(field string, b *corepb.BackoffStrategy, a *ADS) {
	a.BackoffBase = r.duration(field+".base_interval", b.BaseInterval, b.BaseInterval != nil, 0)
	if a.BackoffBase < time.Millisecond {
		r.refuse(field+".base_interval", "got %v, want at least 1ms", a.BackoffBase)
	}
	a.BackoffMax = r.duration(field+".max_interval", b.MaxInterval, b.MaxInterval != nil, 10*a.BackoffBase)
	if a.BackoffMax < a.BackoffBase {
		r.refuse(field+".max_interval", "got %v, want at least base_interval", a.BackoffMax)
	}
}

// cluster reads the control plane's own cluster.
func (r *reader) cluster(path string, c *clusterpb.Cluster, t *client.Target) {
	inner := &reader{}
	inner.walk(clusterTable, c)
	for i, f := range inner.refused {
		r.refuse(path+"."+f, "%s", inner.refusals[i][len(f)+len(": "):])
	}
	network := "tcp"
	switch c.DnsLookupFamily {
	case clusterpb.Cluster_V4_ONLY:
		network = "tcp4"
	case clusterpb.Cluster_V6_ONLY:
		network = "tcp6"
	default: // the others prefer one family, and take both
	}
	switch c.GetType() {
	case clusterpb.Cluster_STATIC, clusterpb.Cluster_STRICT_DNS, clusterpb.Cluster_LOGICAL_DNS:
	default:
		r.refuse(path+".type", "got %v, want STATIC, STRICT_DNS or LOGICAL_DNS: %s", c.GetType(), notSupported)
	}
	t.ConnectTimeout = r.duration(path+".connect_timeout", c.ConnectTimeout, c.ConnectTimeout != nil, defaultConnectTimeout)
	if t.ConnectTimeout == 0 {
		r.refuse(path+".connect_timeout", "got 0s, want more")
	}
	for i, l := range c.LoadAssignment.GetEndpoints() {
		for j, e := range l.LbEndpoints {
			field := at(at(path+".load_assignment.endpoints", i)+".lb_endpoints", j) + ".endpoint.address"
			address := r.address(field, e.GetEndpoint().GetAddress())
			if host, _, err := net.SplitHostPort(address.Address); err == nil && address.Network == "tcp" {
				if c.GetType() == clusterpb.Cluster_STATIC && net.ParseIP(host) == nil {
					r.refuse(field, "got host %q, want an IP address, or type STRICT_DNS", host)
				}
				address.Network = network
			}
			t.Addresses = append(t.Addresses, address)
		}
	}
	if len(t.Addresses) == 0 {
		r.refuse(path+".load_assignment", "got no endpoint, want the control plane's")
	}
	r.connection(path, c, t)
}

// connection reads keep-alives, HTTP/2 and TLS.
func (r *reader) connection(path string, c *clusterpb.Cluster, t *client.Target) {
	if k := c.UpstreamConnectionOptions.GetTcpKeepalive(); k != nil {
		t.TCPKeepAlive = net.KeepAliveConfig{
			Enable:   true,
			Idle:     time.Duration(k.KeepaliveTime.GetValue()) * time.Second,
			Interval: time.Duration(k.KeepaliveInterval.GetValue()) * time.Second,
			Count:    int(k.KeepaliveProbes.GetValue()),
		}
	}
	http2 := c.Http2ProtocolOptions //lint:ignore SA1019 deprecated, and common
	for _, packed := range c.TypedExtensionProtocolOptions {
		o := &upstreampb.HttpProtocolOptions{}
		if packed.UnmarshalTo(o) == nil {
			http2 = o.GetExplicitHttpConfig().GetHttp2ProtocolOptions()
		}
	}
	if http2 == nil {
		r.refuse(path, "want http2_protocol_options: gRPC needs HTTP/2")
	}
	if k := http2.GetConnectionKeepalive(); k != nil {
		field := path + ".http2_protocol_options.connection_keepalive"
		t.PingInterval = r.duration(field+".interval", k.Interval, k.Interval != nil, 0)
		t.PingTimeout = r.duration(field+".timeout", k.Timeout, k.Timeout != nil, 0)
	}
	if c.TransportSocket == nil {
		return
	}
	context := &tlspb.UpstreamTlsContext{}
	if err := c.TransportSocket.GetTypedConfig().UnmarshalTo(context); err != nil {
		r.refuse(path+".transport_socket.typed_config", "want an UpstreamTlsContext: %s", notSupported)
		return
	}
	if files := r.tls(path+".transport_socket.typed_config", context); files != nil {
		t.TLS = files.config
	}
}

// address is a TCP or Unix address.
func (r *reader) address(field string, a *corepb.Address) client.Address {
	if pipe := a.GetPipe(); pipe != nil {
		return client.Address{Network: "unix", Address: pipe.Path}
	}
	s := a.GetSocketAddress()
	if s == nil {
		r.refuse(field, "want a socket_address")
		return client.Address{}
	}
	if s.Protocol != corepb.SocketAddress_TCP {
		r.refuse(field+".socket_address.protocol", "got %v, want TCP", s.Protocol)
	}
	return client.Address{Network: "tcp", Address: r.hostPort(field+".socket_address", s.Address, s.GetPortValue())}
}
