package decode

import (
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	upstreamproxypb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawbufferpb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// proxyProtocol reads the filter that takes the PROXY protocol's header off. Envoy runs filters in the order written: the
// header comes first on the wire, so it must come first here.
func (d *decoder) proxyProtocol(at string, m *proxyprotocolpb.ProxyProtocol, l *config.Listener) {
	switch {
	case l.ProxyHeader != config.ProxyHeaderNone:
		d.refuse(at, "got %s twice, want it once", proxyProtocol.Name)
	case l.InspectTLS:
		d.refuse(at, "got %s after %s, want it before", proxyProtocol.Name, tlsInspector.Name)
	}
	l.ProxyHeader = config.ProxyHeaderRequired
	if m.GetAllowRequestsWithoutProxyProtocol() {
		l.ProxyHeader = config.ProxyHeaderOptional
	}
}

// sendProxyHeader reads a cluster's transport socket: plain, or plain behind the PROXY protocol's header.
func (d *decoder) sendProxyHeader(at string, s *corepb.TransportSocket) (version int) {
	if _, ok := open[*rawbufferpb.RawBuffer](d, s.GetTypedConfig()); ok {
		return 0
	}
	m, ok := open[*upstreamproxypb.ProxyProtocolUpstreamTransport](d, s.GetTypedConfig())
	if !ok {
		d.missing(at, "got no type, want %s or %s", rawBuffer.Name, upstreamProxy.Name)
		return 0
	}
	if _, ok := open[*rawbufferpb.RawBuffer](d, m.GetTransportSocket().GetTypedConfig()); !ok {
		d.refuse(at+".typed_config.transport_socket", "got another type or none, want %s", rawBuffer.Name)
	}
	if m.GetConfig().GetVersion() == corepb.ProxyProtocolConfig_V2 {
		return 2
	}
	return 1
}
