package decode

import (
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	upstreamproxypb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawbufferpb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

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

// upstreamSocket reads a cluster's transport socket: plain or TLS, or either behind the PROXY protocol's header, whose version is
// 0 for none.
func (d *decoder) upstreamSocket(at string, s *corepb.TransportSocket) (version int, secure *config.UpstreamTLS) {
	m, ok := open[*upstreamproxypb.ProxyProtocolUpstreamTransport](d, s.GetTypedConfig())
	if !ok {
		return 0, d.innerSocket(at, s)
	}
	version = 1
	if m.GetConfig().GetVersion() == corepb.ProxyProtocolConfig_V2 {
		version = 2
	}
	at += ".typed_config.transport_socket"
	if _, nested := open[*upstreamproxypb.ProxyProtocolUpstreamTransport](d, m.GetTransportSocket().GetTypedConfig()); nested {
		d.refuse(at, "got %s within itself, want %s or %s", upstreamProxy.Name, rawBuffer.Name, tlsSocket.Name)
		return version, nil
	}
	return version, d.innerSocket(at, m.GetTransportSocket())
}

// innerSocket is nil in plaintext.
func (d *decoder) innerSocket(at string, s *corepb.TransportSocket) *config.UpstreamTLS {
	if m, ok := open[*tlspb.UpstreamTlsContext](d, s.GetTypedConfig()); ok {
		return d.upstreamTLS(at+".typed_config", m)
	}
	if _, ok := open[*rawbufferpb.RawBuffer](d, s.GetTypedConfig()); !ok {
		d.missing(at, "got another type or none, want %s or %s", rawBuffer.Name, tlsSocket.Name)
	}
	return nil
}
