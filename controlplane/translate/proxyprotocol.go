package translate

import (
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	upstreamproxypb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawbufferpb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

const (
	proxyProtocolName = "envoy.filters.listener.proxy_protocol"
	upstreamProxyName = "envoy.transport_sockets.upstream_proxy_protocol"
	rawBufferName     = "envoy.transport_sockets.raw_buffer"
)

// proxyHeader takes the PROXY protocol's header, of either version, off the front of a connection.
func proxyHeader(h ir.ProxyHeader) *listenerpb.ListenerFilter {
	return &listenerpb.ListenerFilter{
		Name: proxyProtocolName,
		ConfigType: &listenerpb.ListenerFilter_TypedConfig{TypedConfig: pack(&proxyprotocolpb.ProxyProtocol{
			AllowRequestsWithoutProxyProtocol: h == ir.ProxyHeaderOptional,
		})},
	}
}

// sendProxyHeader writes it ahead of what is sent to an endpoint, a handshake too. inner is nil in plaintext.
func sendProxyHeader(version int, inner *corepb.TransportSocket) *corepb.TransportSocket {
	if inner == nil {
		inner = &corepb.TransportSocket{
			Name:       rawBufferName,
			ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: pack(&rawbufferpb.RawBuffer{})},
		}
	}
	v := corepb.ProxyProtocolConfig_V1
	if version == 2 {
		v = corepb.ProxyProtocolConfig_V2
	}
	return &corepb.TransportSocket{
		Name: upstreamProxyName,
		ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: pack(&upstreamproxypb.ProxyProtocolUpstreamTransport{
			Config:          &corepb.ProxyProtocolConfig{Version: v},
			TransportSocket: inner,
		})},
	}
}
