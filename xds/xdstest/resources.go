package xdstest

import (
	"fmt"
	"net/netip"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/sluice-proxy/sluice/xds/resource"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Resources sorts messages by type URL and name, as snapshot.Build takes them.
func Resources(messages ...proto.Message) map[string]map[string]proto.Message {
	all := map[string]map[string]proto.Message{}
	for _, m := range messages {
		url := "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName())
		if all[url] == nil {
			all[url] = map[string]proto.Message{}
		}
		all[url][NameOf(m)] = m
	}
	return all
}

// NameOf is the name of a resource.
func NameOf(m proto.Message) string {
	switch m := m.(type) {
	case *endpointpb.ClusterLoadAssignment:
		return m.GetClusterName()
	case interface{ GetName() string }:
		return m.GetName()
	}
	panic(fmt.Sprintf("xdstest: got a %T, want a resource", m))
}

// ADS is the source "this very stream".
func ADS() *corepb.ConfigSource {
	return &corepb.ConfigSource{
		ResourceApiVersion:    corepb.ApiVersion_V3,
		ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: &corepb.AggregatedConfigSource{}},
	}
}

// Cluster is an EDS cluster; timeout is what makes one version differ from another.
func Cluster(name string, timeout time.Duration) *clusterpb.Cluster {
	return &clusterpb.Cluster{
		Name:                 name,
		ConnectTimeout:       durationpb.New(timeout),
		ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS},
		EdsClusterConfig:     &clusterpb.Cluster_EdsClusterConfig{EdsConfig: ADS()},
	}
}

// SecureCluster is Cluster with upstream TLS, validated by a secret.
func SecureCluster(name string, timeout time.Duration, secret string) *clusterpb.Cluster {
	c := Cluster(name, timeout)
	c.TransportSocket = socket(&tlspb.UpstreamTlsContext{CommonTlsContext: &tlspb.CommonTlsContext{
		ValidationContextType: &tlspb.CommonTlsContext_ValidationContextSdsSecretConfig{
			ValidationContextSdsSecretConfig: &tlspb.SdsSecretConfig{Name: secret, SdsConfig: ADS()},
		},
	}})
	return c
}

// Endpoints is a cluster's endpoints, "127.0.0.1:3000" each.
func Endpoints(cluster string, addresses ...string) *endpointpb.ClusterLoadAssignment {
	a := &endpointpb.ClusterLoadAssignment{ClusterName: cluster}
	if len(addresses) == 0 {
		return a
	}
	group := &endpointpb.LocalityLbEndpoints{}
	for _, address := range addresses {
		group.LbEndpoints = append(group.LbEndpoints, &endpointpb.LbEndpoint{
			HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{Address: socketAddress(address)}},
		})
	}
	a.Endpoints = []*endpointpb.LocalityLbEndpoints{group}
	return a
}

// Secret is a secret whose content is the given text.
func Secret(name, content string) *tlspb.Secret {
	return &tlspb.Secret{Name: name, Type: &tlspb.Secret_GenericSecret{GenericSecret: &tlspb.GenericSecret{
		Secret: &corepb.DataSource{Specifier: &corepb.DataSource_InlineString{InlineString: content}},
	}}}
}

// Listener is an HTTP listener with a route configuration over RDS; mark is what makes one version differ from another.
// With a secret it presents that certificate.
func Listener(name, route, mark, secret string) *listenerpb.Listener {
	l := listener(name, mark, "envoy.filters.network.http_connection_manager", &hcmpb.HttpConnectionManager{
		StatPrefix: "test",
		RouteSpecifier: &hcmpb.HttpConnectionManager_Rds{
			Rds: &hcmpb.Rds{RouteConfigName: route, ConfigSource: ADS()},
		},
		HttpFilters: []*hcmpb.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmpb.HttpFilter_TypedConfig{TypedConfig: pack(&routerpb.Router{})},
		}},
	})
	if secret != "" {
		l.FilterChains[0].TransportSocket = socket(&tlspb.DownstreamTlsContext{CommonTlsContext: &tlspb.CommonTlsContext{
			TlsCertificateSdsSecretConfigs: []*tlspb.SdsSecretConfig{{Name: secret, SdsConfig: ADS()}},
		}})
	}
	return l
}

// TCPListener is a listener that carries bytes to a cluster.
func TCPListener(name, cluster string) *listenerpb.Listener {
	return listener(name, "test", "envoy.filters.network.tcp_proxy", &tcppb.TcpProxy{
		StatPrefix:       "test",
		ClusterSpecifier: &tcppb.TcpProxy_Cluster{Cluster: cluster},
	})
}

func listener(name, mark, filter string, config proto.Message) *listenerpb.Listener {
	return &listenerpb.Listener{
		Name: name, StatPrefix: mark, Address: socketAddress("127.0.0.1:10000"),
		FilterChains: []*listenerpb.FilterChain{{
			Filters: []*listenerpb.Filter{{
				Name: filter, ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: pack(config)},
			}},
		}},
	}
}

// Routes is a route configuration with a prefix "/<cluster>" for each cluster.
func Routes(name string, clusters ...string) *routepb.RouteConfiguration {
	host := &routepb.VirtualHost{Name: "all", Domains: []string{"*"}}
	for _, cluster := range clusters {
		host.Routes = append(host.Routes, &routepb.Route{
			Name:  cluster,
			Match: &routepb.RouteMatch{PathSpecifier: &routepb.RouteMatch_Prefix{Prefix: "/" + cluster}},
			Action: &routepb.Route_Route{Route: &routepb.RouteAction{
				ClusterSpecifier: &routepb.RouteAction_Cluster{Cluster: cluster},
			}},
		})
	}
	return &routepb.RouteConfiguration{Name: name, VirtualHosts: []*routepb.VirtualHost{host}}
}

func socket(context proto.Message) *corepb.TransportSocket {
	return &corepb.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: pack(context)},
	}
}

func socketAddress(s string) *corepb.Address {
	at := netip.MustParseAddrPort(s)
	return &corepb.Address{Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{
		Address:       at.Addr().String(),
		PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: uint32(at.Port())},
	}}}
}

func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err) // a message of this file
	}
	return a
}

// Barriers are the resources that Stream.Silent asks for: routes and secrets that nothing refers to, n each.
func Barriers(n int) []proto.Message {
	var all []proto.Message
	for i := range n {
		all = append(all, Routes(Barrier(i)), Secret(Barrier(i), "barrier"))
	}
	return all
}

// Table is a route configuration whose hosts come by VHDS.
func Table(name string) *routepb.RouteConfiguration {
	return &routepb.RouteConfiguration{Name: name, Vhds: &routepb.Vhds{ConfigSource: ADS()}}
}

// Host is a virtual host of a Table, for the domain of its name, with routes as Routes has them.
func Host(table, name string, clusters ...string) *routepb.VirtualHost {
	h := Routes(table, clusters...).GetVirtualHosts()[0]
	h.Name, h.Domains = resource.HostName(table, name), []string{name}
	return h
}
