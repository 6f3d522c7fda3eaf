// Package ir holds the proxy-neutral nouns between compile and translate: what each fleet serves, with every
// reference resolved, every default filled in and every conflict decided.
//
// In: compile builds it. Out: translate turns it into Envoy's types. It must not know files, YAML, protobuf or Envoy,
// and imports the standard library only. Values are immutable once built.
package ir

import (
	"net/netip"
	"time"
)

// Fleet is all that one fleet's proxies serve. Every slice is sorted by Name, so equal input gives equal output. What did
// not change since the compilation before is the very same pointer, as far as that was found out cheaply.
type Fleet struct {
	Name         string
	Listeners    []Listener
	RouteTables  []*RouteTable
	Clusters     []*Cluster
	Certificates []Certificate
	TrustBundles []TrustBundle
	// TicketKeys are for TLS session tickets, TicketKeySize bytes each: the first encrypts, all decrypt. They are state, and
	// not in any definition: compile leaves them out. None: each proxy makes its own.
	TicketKeys []Secret
}

// TicketKeySize is that of Envoy's session ticket keys, in bytes: a name of 16, an HMAC key of 32 and an AES key of 32.
const TicketKeySize = 80

// Listener is one socket: several listeners of the language may share it.
type Listener struct {
	// Name is the address and port, "0.0.0.0:8443" or "[::]:8443", or "unix:/run/web.sock": it does not depend on who shares the socket.
	Name string
	// Address is the bind address, or a unix socket. "::" takes both families (IPV6_V6ONLY off).
	Address Address
	// Mode is a unix socket's permissions; 0 is what the umask of the proxy leaves.
	Mode uint32
	// ProxyProtocol: connections begin with the PROXY protocol's header.
	ProxyProtocol ProxyHeader
	// Chains are asked for the one whose ServerNames fit best; without TLS there is one, with no ServerNames.
	Chains []FilterChain
	// Default serves a TLS client whose server name fits no chain. Nil refuses it.
	Default *FilterChain
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
	// Name is "gateway/listener/certificate", or "gateway/listener" where nothing is presented. Default chains end in "/default".
	Name string
	// ServerNames are exact or "*.suffix", lower case. Empty fits all.
	ServerNames []string
	// Certificate is the name of the Certificate to present; empty is plaintext, or TLS that is passed through.
	Certificate string
	// Clients says which certificates clients must show; nil asks for none. It is of chains with a Certificate.
	Clients *Clients
	// Passthrough is TLS that is not terminated: the chain takes connections that begin with a ClientHello, and no others.
	Passthrough bool
	HTTP        *HTTP
	TCP         *TCP
	// Unlogged writes no access log.
	Unlogged bool
	// MaxConnections bounds the chain's connections in one proxy. 0 is no bound.
	MaxConnections uint32
}

// HTTP is HTTP/1.1 and HTTP/2 (by ALPN, or by prior knowledge in plaintext) over a route table.
type HTTP struct {
	// RouteTable is the name of a RouteTable of the same Fleet.
	RouteTable string
	// IdleTimeout closes a connection without requests, and resets a stream that moves neither way. 0 is never.
	IdleTimeout time.Duration
	// MaxHeaderBytes, a multiple of 1024, and MaxHeaderCount limit a request's head.
	MaxHeaderBytes, MaxHeaderCount uint32
	// HeadersTimeout is for a request's head to arrive, RequestTimeout for all of it. 0 is none.
	HeadersTimeout, RequestTimeout time.Duration
	// MaxStreams is how many requests an HTTP/2 connection may have under way.
	MaxStreams uint32
	// MaxRequests is how many requests a connection may bring. 0 is no bound.
	MaxRequests uint32
	// ForwardClient tells the backends of the client's certificate.
	ForwardClient bool
}

// TCP carries bytes.
type TCP struct {
	Backends []Backend
	// IdleTimeout closes a connection that moves neither way. 0 is never.
	IdleTimeout time.Duration
}

// RouteTable is the routes of one listener of the language: "gateway/listener".
type RouteTable struct {
	Name  string
	Hosts []*VirtualHost
}

// VirtualHost is the rules of one host, in the order in which they are asked. A host stands in one VirtualHost only.
type VirtualHost struct {
	// Name is the host.
	Name string
	// Host is exact, "*.suffix" (any depth, not the suffix itself) or "*".
	Host  string
	Rules []Rule
}

// Rule is one match of one rule: a rule with several matches stands here several times, with one ID.
// Exactly one of Backends, Redirect and Respond is set.
type Rule struct {
	// ID is the stable identity, "Route/shop#name": it is seen in dumps and access logs. It never depends on an index.
	ID       string
	Match    Match
	Backends []Backend
	Redirect *Redirect
	Respond  *Response
	// Timeout is for the whole request. 0 is none.
	Timeout time.Duration
	// IdleTimeout is for a request that moves neither way, in place of the listener's; 0 is never, nil the listener's. It is
	// of Backends.
	IdleTimeout *time.Duration
	// Mirrors get copies of requests. They are of Backends.
	Mirrors []Mirror
	// Upgrades are the protocols that a request may switch to, lower case, in the order written. They are of Backends.
	Upgrades []string
	// Rewrite is what the backend sees instead; nil is the request's own. It is of Backends.
	Rewrite *Rewrite
	// Retry says when a request is sent again; nil is never. It is of Backends.
	Retry *Retry
	// RequestHeaders and ResponseHeaders are changed on their way; nil is not.
	RequestHeaders, ResponseHeaders *HeaderChanges
}

// Mirror is a cluster that gets copies of a share of the requests, in millionths.
type Mirror struct {
	Cluster  string
	Fraction uint32
}

// HeaderChanges are done in this order. Names are in lower case; a "%%" in a value stands for "%".
type HeaderChanges struct {
	Remove   []string
	Set, Add []HeaderValue
}

// HeaderValue is a header and its value.
type HeaderValue struct{ Name, Value string }

// Rewrite replaces parts of the request's URL; empty parts are kept, and so is the query. At most one of Prefix, Path and
// Pattern is set.
type Rewrite struct {
	Host string
	// Prefix stands for what the match's path matched. The match is not by PathRegex.
	Prefix string
	// Path is the whole path.
	Path string
	// Pattern is a regular expression for parts of the path, and Substitution stands for these, in RE2's words.
	Pattern, Substitution string
}

// WebSocket is the protocol that listeners allow unless a rule says otherwise.
const WebSocket = "websocket"

// PathKind is how a path is compared.
type PathKind int

// The kinds of path comparison.
const (
	PathAny PathKind = iota
	PathExact
	// PathPrefix ends at segment borders: Value has no '/' at its end, and is never "/" (that is PathAny).
	PathPrefix
	PathRawPrefix
	// PathRegex is a regular expression for the whole path.
	PathRegex
)

// Match holds if all parts hold.
type Match struct {
	PathKind PathKind
	Path     string
	// Method is compared exactly; empty is any.
	Method  string
	Headers []HeaderMatch
	// Query are parameters of the query, as they are in the URL.
	Query []QueryMatch
	// GRPC wants a content-type of gRPC.
	GRPC bool
	// Sources are networks, one of which the client's address is in; none is any.
	Sources []netip.Prefix
	// Fraction is the share of the requests that all else fits, in millionths; nil is all.
	Fraction *uint32
}

// TextKind is how a text is compared.
type TextKind int

// The kinds of comparison. Of the regular expression the whole text must match.
const (
	TextExact TextKind = iota
	TextPrefix
	TextSuffix
	TextContains
	TextRegex
	// TextPresent and TextAbsent do not look at the value.
	TextPresent
	TextAbsent
)

// Text is a comparison of a text.
type Text struct {
	Kind  TextKind
	Value string
}

// HeaderMatch compares one header; Name is in lower case. Of several lines of a name any may match, by itself.
type HeaderMatch struct {
	Name string
	Text
	// Invert: no line may match; the header must be there. It stands with no TextPresent and no TextAbsent.
	Invert bool
}

// QueryMatch compares the first parameter of a name.
type QueryMatch struct {
	Name string
	Text
}

// Backend is a cluster and its share. In one list the weights do not sum to 0.
type Backend struct {
	Cluster string
	Weight  uint32
}

// Redirect answers with the request's URL, with these parts replaced. Zero values keep the request's; the port goes with
// Scheme: without Port it is the scheme's own.
type Redirect struct {
	Scheme string
	Host   string
	Port   uint16
	// Status is 301, 302, 303, 307 or 308.
	Status int
	// Path is the whole path, Prefix stands for what the match's path matched (as in Rewrite); at most one is set.
	Path, Prefix string
	// StripQuery leaves the query out; else it is kept.
	StripQuery bool
}

// Response is an answer of the proxy itself.
type Response struct {
	Status int
	Body   string
	// ContentType is the body's; empty is text/plain.
	ContentType string
}

// Policy is how an endpoint is chosen.
type Policy int

// The load-balancing policies.
const (
	RoundRobin Policy = iota
	LeastRequest
	Random
	RingHash
	Maglev
)

// HashKind is what a HashKey looks at.
type HashKind int

// The kinds of hash keys.
const (
	HashHeader HashKind = iota
	HashCookie
	HashQueryParam
	HashSourceAddress
)

// HashKey is one thing that a request is known by.
type HashKey struct {
	Kind HashKind
	// Name is the header's, in lower case, the cookie's or the parameter's; a source address has none.
	Name string
	// MakeCookie: a missing cookie is made. TTL, in whole seconds (0 is a session's), and Path are its own.
	MakeCookie bool
	TTL        time.Duration
	Path       string
	// Terminal: if there is a hash by now, what follows does not count.
	Terminal bool
}

// Cluster is a Service that some listener of the fleet uses.
type Cluster struct {
	// Name is the Service's.
	Name           string
	ConnectTimeout time.Duration
	// HTTP2 is HTTP/2 with prior knowledge; else HTTP/1.1.
	HTTP2 bool
	// ProxyProtocol is the version of the PROXY protocol's header that connections to it begin with, 1 or 2. 0 is none.
	ProxyProtocol int
	// TLS is how the endpoints are spoken to; nil is plaintext.
	TLS    *UpstreamTLS
	Policy Policy
	// ChoiceCount is for LeastRequest: 2 to 100.
	ChoiceCount uint32
	// HashOn is for RingHash and Maglev: at least one.
	HashOn []HashKey
	// MinRingSize and MaxRingSize are for RingHash: 1 to 1048576, in order. TableSize is for Maglev: a prime number.
	MinRingSize, MaxRingSize, TableSize uint32
	// PanicThreshold: a priority with fewer healthy endpoints, in percent, may use them all; 0 is never.
	PanicThreshold uint32
	// SlowStart is of RoundRobin and LeastRequest; nil is none.
	SlowStart *SlowStart
	// ZoneWeights share the requests of a priority among zones, all of which it names; nil is by endpoints, wherever they are.
	ZoneWeights map[string]uint32
	// HealthCheck asks the endpoints, and Outliers watches how they answer; nil is not.
	HealthCheck *HealthCheck
	Outliers    *Outliers
	// MaxConnections, MaxPending and MaxRequests are how many connections, requests that wait for one, and requests there may
	// be in one proxy.
	MaxConnections, MaxPending, MaxRequests uint32
	// Retries limits the requests that are being sent again.
	Retries RetryLimit
	// DNS is set where endpoints have names that proxies look up: none of them is a unix socket then.
	DNS *DNS
	// SRV is set where endpoints are SRV records, which controlplane/srv looks up: each has a priority of its own.
	SRV *DNS
	// Endpoints are in the order written. None answers 503.
	Endpoints []Endpoint
}

// SlowStart gives a new endpoint its share little by little.
type SlowStart struct {
	// Window is how long it takes, more than 0.
	Window time.Duration
	// Aggression is 1 for an even growth, more for a faster one at first.
	Aggression float64
	// MinWeight is what it gets at least, in percent of its weight: 1 to 100.
	MinWeight uint32
}

// Endpoint is one address; Weight is at least 1.
type Endpoint struct {
	Address Address
	Weight  uint32
	// HashKey is what RingHash and Maglev know it by; empty is the address.
	HashKey string
	// Zone is where it is; empty is nowhere in particular. It is there for ZoneWeights.
	Zone string
	// Drain: it gets nothing new.
	Drain bool
	// Priority: 0 is used first. None is missing before the greatest.
	Priority uint32
}

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
