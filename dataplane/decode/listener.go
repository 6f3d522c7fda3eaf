package decode

//lint:file-ignore SA1019 other control planes still send the deprecated fields.

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tlsinspectorpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	connectionlimitpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	setstatepb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	rawbufferpb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// What Envoy takes where a listener says nothing.
const (
	defaultPeekTimeout = 15 * time.Second
	defaultReusePort   = true
)

// listener reads an LDS resource.
func (d *decoder) listener() *config.Listener {
	m := d.message.(*listenerpb.Listener)
	l := &config.Listener{
		Name:             m.GetName(),
		IPv4Compat:       m.GetAddress().GetSocketAddress().GetIpv4Compat(),
		ReusePort:        defaultReusePort,
		HandshakeTimeout: d.positive("listener_filters_timeout", m.GetListenerFiltersTimeout(), defaultPeekTimeout),
	}
	if pipe := m.GetAddress().GetPipe(); pipe != nil {
		d.pipe("address.pipe", pipe, l)
	} else {
		l.Address = d.address("address", m.GetAddress())
	}
	if v := m.GetEnableReusePort(); v != nil {
		l.ReusePort = v.GetValue()
	}
	for i, f := range m.GetListenerFilters() {
		if _, ok := open[*tlsinspectorpb.TlsInspector](d, f.GetTypedConfig()); ok {
			l.InspectTLS = true
		} else if p, ok := open[*proxyprotocolpb.ProxyProtocol](d, f.GetTypedConfig()); ok {
			d.proxyProtocol(fmt.Sprintf("listener_filters[%d]", i), p, l)
		}
	}
	if len(m.GetFilterChains()) == 0 && m.GetDefaultFilterChain() == nil {
		d.refuse("filter_chains", "got none, want a filter chain")
	}
	seen := map[chainKey]int{}
	for i, c := range m.GetFilterChains() {
		at := fmt.Sprintf("filter_chains[%d]", i)
		chain := d.filterChain(at, c, l)
		l.Chains = append(l.Chains, chain)
		for _, key := range matchKeys(chain.Match) {
			if first, twice := seen[key]; twice {
				d.refuse(at+".filter_chain_match", "got the server name %s, which filter_chains[%d] takes already, with the same transport and application protocol", quote(key.serverName), first)
			}
			seen[key] = i
		}
	}
	if c := m.GetDefaultFilterChain(); c != nil {
		l.Default = d.filterChain("default_filter_chain", c, l)
	}
	return l
}

// filterChain reads a chain, and lets it shorten the listener's handshake timeout.
func (d *decoder) filterChain(at string, m *listenerpb.FilterChain, l *config.Listener) *config.FilterChain {
	c := &config.FilterChain{Name: m.GetName(), Match: d.chainMatch(at+".filter_chain_match", m.GetFilterChainMatch())}
	if t := d.duration(at+".transport_socket_connect_timeout", m.GetTransportSocketConnectTimeout(), 0); t > 0 {
		l.HandshakeTimeout = min(l.HandshakeTimeout, t)
	}
	if s := m.GetTransportSocket(); s != nil {
		if tls, ok := open[*tlspb.DownstreamTlsContext](d, s.GetTypedConfig()); ok {
			c.TLS = d.downstreamTLS(at+".transport_socket.typed_config", tls)
		} else if _, ok := open[*rawbufferpb.RawBuffer](d, s.GetTypedConfig()); !ok {
			d.missing(at+".transport_socket", "got no type, want %s or %s", tlsSocket.Name, rawBuffer.Name)
		}
	}
	filters := m.GetFilters()
	last := max(0, len(filters)-1)
	source := false
	for i, f := range filters[:last] {
		if state, ok := open[*setstatepb.Config](d, f.GetTypedConfig()); ok {
			source = true
			d.sourceState(fmt.Sprintf("%s.filters[%d].typed_config", at, i), state)
			continue
		}
		limit, ok := open[*connectionlimitpb.ConnectionLimit](d, f.GetTypedConfig())
		if !ok {
			d.missing(fmt.Sprintf("%s.filters[%d]", at, i), "got a filter before the last, want only %s or %s there", connectionLimit.Name, setState.Name)
			return c
		}
		// Envoy has each of several count by itself: all of them must hold.
		if n := limit.GetMaxConnections().GetValue(); c.MaxConnections == 0 || n < c.MaxConnections {
			c.MaxConnections = n
		}
	}
	if len(filters) == 0 {
		d.refuse(at+".filters", "got no filters, want %s or %s", httpManager.Name, tcpProxy.Name)
		return c
	}
	packed := filters[last].GetTypedConfig()
	inner := fmt.Sprintf("%s.filters[%d].typed_config", at, last)
	if hcm, ok := open[*hcmpb.HttpConnectionManager](d, packed); ok {
		c.HTTP = d.http(inner, hcm)
		c.HTTP.MatchSource = source
	} else if tcp, ok := open[*tcppb.TcpProxy](d, packed); ok {
		c.TCP = d.tcp(inner, tcp)
	} else if _, ok := open[*connectionlimitpb.ConnectionLimit](d, packed); ok {
		d.refuse(fmt.Sprintf("%s.filters[%d]", at, last), "got %s as the last, want %s or %s", connectionLimit.Name, httpManager.Name, tcpProxy.Name)
	} else if _, ok := open[*setstatepb.Config](d, packed); ok {
		d.refuse(fmt.Sprintf("%s.filters[%d]", at, last), "got %s as the last, want %s or %s", setState.Name, httpManager.Name, tcpProxy.Name)
	} else {
		d.missing(fmt.Sprintf("%s.filters[%d]", at, last), "got no type, want %s or %s", httpManager.Name, tcpProxy.Name)
	}
	return c
}

// sourceState wants the filter to keep the client's address, and nothing else.
func (d *decoder) sourceState(at string, m *setstatepb.Config) {
	values := m.GetOnNewConnection()
	if len(values) != 1 {
		d.refuse(at+".on_new_connection", "got %d values, want one: %s", len(values), notSupported)
		return
	}
	at += ".on_new_connection[0]"
	format := values[0].GetFormatString()
	text := string(inline(format.GetTextFormatSource()))
	if text == "" {
		text = format.GetTextFormat()
	}
	if text != resource.SourceFormat {
		d.refuse(at+".format_string", "got %s, want %s: %s", quote(text), quote(resource.SourceFormat), notSupported)
	}
	if values[0].GetFactoryKey() == "" {
		d.refuse(at+".factory_key", `got "", want "envoy.network.ip"`)
	}
}

func (d *decoder) chainMatch(at string, m *listenerpb.FilterChainMatch) config.ChainMatch {
	match := config.ChainMatch{
		TransportProtocol:    m.GetTransportProtocol(),
		ApplicationProtocols: m.GetApplicationProtocols(),
	}
	for i, name := range m.GetServerNames() {
		name = strings.ToLower(name)
		if strings.Contains(strings.TrimPrefix(name, "*."), "*") || name == "" {
			d.refuse(fmt.Sprintf("%s.server_names[%d]", at, i), `got %s, want a name or "*.suffix"`, quote(name))
		}
		match.ServerNames = append(match.ServerNames, name)
	}
	return match
}

// chainKey is one kind of connections. As Envoy has it, two chains that take one are a mistake.
type chainKey struct{ serverName, transport, application string }

func matchKeys(m config.ChainMatch) []chainKey {
	var keys []chainKey
	for _, name := range orAny(m.ServerNames) {
		for _, protocol := range orAny(m.ApplicationProtocols) {
			keys = append(keys, chainKey{name, m.TransportProtocol, protocol})
		}
	}
	return keys
}

// orAny stands "" for a list without items.
func orAny(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

// address reads a TCP address.
func (d *decoder) address(at string, m *corepb.Address) netip.AddrPort {
	at += ".socket_address"
	s := m.GetSocketAddress()
	if s == nil {
		d.missing(strings.TrimSuffix(at, ".socket_address"), "got none, want an address and a port")
		return netip.AddrPort{}
	}
	ip, err := netip.ParseAddr(s.GetAddress())
	if err != nil || ip.Zone() != "" {
		d.refuse(at+".address", "got %s, want an IP address", quote(s.GetAddress()))
	}
	if _, ok := s.GetPortSpecifier().(*corepb.SocketAddress_PortValue); !ok || s.GetPortValue() > 65535 {
		d.refuse(at+".port_value", "got %d, want 0 to 65535", s.GetPortValue())
	}
	return netip.AddrPortFrom(ip, uint16(s.GetPortValue()))
}

// pipe reads a unix socket to listen on.
func (d *decoder) pipe(at string, m *corepb.Pipe, l *config.Listener) {
	if wrong := socketPath(m.GetPath()); wrong != "" {
		d.refuse(at+".path", "%s", wrong)
	}
	if m.GetMode() != 0 && strings.HasPrefix(m.GetPath(), "@") {
		d.refuse(at+".mode", "got %#o for %s, want none: an abstract name has no permissions", m.GetMode(), quote(m.GetPath()))
	}
	l.Path, l.Mode = m.GetPath(), m.GetMode()
}

// configSource wants what is asked for to come on the same stream.
func (d *decoder) configSource(at string, m *corepb.ConfigSource) {
	if m.GetAds() == nil && m.GetSelf() == nil {
		d.missing(at, "want ads or self")
	}
}
