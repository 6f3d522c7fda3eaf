package config

import (
	"net/netip"
	"time"
)

// Listener is one name and the sockets it binds.
type Listener struct {
	Name    string
	Address netip.AddrPort
	// Path is a unix socket's, in place of an Address: absolute, or '@' and a name in Linux's abstract namespace. Mode is its
	// permissions; 0 is what the process's umask leaves.
	Path string
	Mode uint32
	// IPv4Compat on an IPv6 address takes IPv4 too.
	IPv4Compat bool
	// ReusePort binds with SO_REUSEPORT, so that several processes share the port.
	ReusePort bool
	// ProxyHeader takes the PROXY protocol's header off the front of each connection, before InspectTLS.
	ProxyHeader ProxyHeader
	// InspectTLS peeks at the ClientHello, for ServerNames and TransportProtocol.
	InspectTLS bool
	Chains     []*FilterChain
	// Default serves what fits no chain; nil closes it.
	Default *FilterChain
	// HandshakeTimeout is how long the header, the peek and the TLS handshake may take; 0 is 15 s, Envoy's default.
	HandshakeTimeout time.Duration
}

// ProxyHeader is whether connections begin with the PROXY protocol's header.
type ProxyHeader int

// The kinds of ProxyHeader.
const (
	ProxyHeaderNone ProxyHeader = iota
	ProxyHeaderRequired
	// ProxyHeaderOptional takes connections without one as they are.
	ProxyHeaderOptional
)

// FilterChain is what happens to a connection. Exactly one of HTTP and TCP is set.
type FilterChain struct {
	Name  string
	Match ChainMatch
	// TLS terminates; nil is plaintext.
	TLS  *DownstreamTLS
	HTTP *HTTP
	TCP  *TCP
	// MaxConnections bounds the chain's connections: one too many is closed. 0 is no bound.
	MaxConnections uint64
}

// ChainMatch says which connections a chain takes; all parts must hold.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto#config-listener-v3-filterchainmatch
type ChainMatch struct {
	// ServerNames are exact or "*.suffix", lower case; the most specific wins; empty fits all.
	ServerNames []string
	// TransportProtocol is "", "tls" or "raw_buffer".
	TransportProtocol string
	// ApplicationProtocols are ALPN names, any of which the client must offer; empty fits all.
	ApplicationProtocols []string
}

// DownstreamTLS terminates TLS.
type DownstreamTLS struct {
	// CertificateNames are names in Config.Certificates, by SDS.
	CertificateNames []string
	// Certificates stand in the listener itself.
	Certificates []*Certificate
	// ALPN in order of preference.
	ALPN []string
	// MinVersion and MaxVersion are crypto/tls version numbers; 0 is TLS 1.2, and TLS 1.3.
	MinVersion, MaxVersion uint16
	// TicketKeysName is a name in Config.TicketKeys, by SDS; TicketKeys stand in the listener itself. Without either, the
	// process has keys of its own.
	TicketKeysName string
	TicketKeys     *TicketKeys
	// NoTickets: sessions are not resumed.
	NoTickets bool
	// Clients says which certificates clients must show; nil asks for none.
	Clients *Clients
}

// TicketKeys are for session tickets: the first encrypts, all decrypt.
type TicketKeys struct {
	Name string
	// Keys are of TicketKeySize bytes; there is one at least.
	Keys []Secret
}

// TicketKeySize is that of Envoy's session ticket keys, in bytes.
const TicketKeySize = 80

// Certificate is a chain and its key, both PEM.
type Certificate struct {
	Name  string
	Chain []byte
	Key   Secret
}

// Secret is bytes that never show in a log or a dump.
type Secret []byte

// String hides the bytes.
func (Secret) String() string { return "[redacted]" }

// GoString hides the bytes from %#v.
func (Secret) GoString() string { return "[redacted]" }

// MarshalText hides the bytes from JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
