package translate

import (
	"google.golang.org/protobuf/types/known/wrapperspb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsinspectorpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	connectionlimitpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// Names under which Envoy knows the extensions. The type URL decides; these are for people.
const (
	tlsInspectorName    = "envoy.filters.listener.tls_inspector"
	tlsSocketName       = "envoy.transport_sockets.tls"
	httpName            = "envoy.filters.network.http_connection_manager"
	routerName          = "envoy.filters.http.router"
	tcpProxyName        = "envoy.filters.network.tcp_proxy"
	connectionLimitName = "envoy.filters.network.connection_limit"
	stdoutName          = "envoy.access_loggers.stdout"
)

// listener is one socket. tickets: its sessions resume on all proxies of the fleet; bySource are the route tables that ask for
// the client's address.
func listener(l *ir.Listener, tickets bool, bySource map[string]bool) *listenerpb.Listener {
	m := &listenerpb.Listener{
		Name: l.Name,
		// "::" takes both families, as the language says; any other address only its own.
		Address: bindAddress(l),
		// Several proxies may share a port, which is also how one is replaced by the next.
		EnableReusePort:               wrapperspb.Bool(true),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(connectionBuffer),
		ListenerFiltersTimeout:        duration(peekTimeout),
	}
	tls := false
	for i := range l.Chains {
		tls = tls || l.Chains[i].Certificate != "" || l.Chains[i].Passthrough
		m.FilterChains = append(m.FilterChains, filterChain(&l.Chains[i], tickets, bySource))
	}
	if l.Default != nil {
		tls = tls || l.Default.Certificate != ""
		m.DefaultFilterChain = filterChain(l.Default, tickets, bySource)
	}
	if l.ProxyProtocol != ir.ProxyHeaderNone {
		// Before the ClientHello is looked for.
		m.ListenerFilters = append(m.ListenerFilters, proxyHeader(l.ProxyProtocol))
	}
	if tls {
		m.ListenerFilters = append(m.ListenerFilters, &listenerpb.ListenerFilter{
			Name:       tlsInspectorName,
			ConfigType: &listenerpb.ListenerFilter_TypedConfig{TypedConfig: pack(&tlsinspectorpb.TlsInspector{})},
		})
	}
	return m
}

// bindAddress is where a listener listens.
func bindAddress(l *ir.Listener) *corepb.Address {
	if l.Address.Path != "" {
		return &corepb.Address{Address: &corepb.Address_Pipe{Pipe: &corepb.Pipe{Path: l.Address.Path, Mode: l.Mode}}}
	}
	return address(l.Address.AddrPort, l.Address.Addr().Is6() && l.Address.Addr().IsUnspecified())
}

// filterChain is what happens to a connection. Each certificate has its own, so that adding one drains nobody.
func filterChain(c *ir.FilterChain, tickets bool, bySource map[string]bool) *listenerpb.FilterChain {
	m := &listenerpb.FilterChain{Name: c.Name}
	if len(c.ServerNames) > 0 || c.Passthrough {
		m.FilterChainMatch = &listenerpb.FilterChainMatch{ServerNames: c.ServerNames}
	}
	if c.Passthrough {
		// For all names it would take plaintext too.
		m.FilterChainMatch.TransportProtocol = "tls"
	}
	if c.Certificate != "" {
		m.TransportSocket = &corepb.TransportSocket{
			Name:       tlsSocketName,
			ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: pack(downstreamTLS(c, tickets))},
		}
		m.TransportSocketConnectTimeout = duration(peekTimeout)
	}
	if c.MaxConnections > 0 {
		m.Filters = append(m.Filters, &listenerpb.Filter{
			Name: connectionLimitName,
			ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: pack(&connectionlimitpb.ConnectionLimit{
				StatPrefix:     c.Name,
				MaxConnections: wrapperspb.UInt64(uint64(c.MaxConnections)),
			})},
		})
	}
	switch {
	case c.HTTP != nil:
		if bySource[c.HTTP.RouteTable] {
			m.Filters = append(m.Filters, setSource())
		}
		m.Filters = append(m.Filters, &listenerpb.Filter{
			Name:       httpName,
			ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: pack(connectionManager(c))},
		})
	case c.TCP != nil:
		m.Filters = append(m.Filters, &listenerpb.Filter{
			Name:       tcpProxyName,
			ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: pack(tcpProxy(c))},
		})
	}
	return m
}

// downstreamTLS terminates TLS. The certificate comes by SDS, so that its renewal drains nobody; so do the ticket keys.
func downstreamTLS(c *ir.FilterChain, tickets bool) *tlspb.DownstreamTlsContext {
	common := &tlspb.CommonTlsContext{
		TlsParams: &tlspb.TlsParameters{
			TlsMinimumProtocolVersion: tlspb.TlsParameters_TLSv1_2,
			TlsMaximumProtocolVersion: tlspb.TlsParameters_TLSv1_3,
		},
		TlsCertificateSdsSecretConfigs: []*tlspb.SdsSecretConfig{{Name: c.Certificate, SdsConfig: ads()}},
	}
	if c.HTTP != nil {
		common.AlpnProtocols = alpn
	}
	m := &tlspb.DownstreamTlsContext{CommonTlsContext: common}
	clients(m, c.Clients)
	if tickets {
		m.SessionTicketKeysType = &tlspb.DownstreamTlsContext_SessionTicketKeysSdsSecretConfig{
			SessionTicketKeysSdsSecretConfig: &tlspb.SdsSecretConfig{Name: ticketKeysName, SdsConfig: ads()},
		}
	}
	return m
}
