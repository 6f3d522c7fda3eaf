// Package config holds the proxy's own nouns: what it listens on, where requests go, and to whom.
//
// In: decode makes the parts from Envoy's types, assemble joins them. Out: live makes running objects of them. It must
// not know xDS, and imports the standard library only. Values are immutable once built, and comparable with
// reflect.DeepEqual: live keeps the running object of a part that did not change.
package config

import (
	"net/netip"
	"regexp"
	"time"
)

// Config is one complete configuration: every name that is referred to is there, or is known not to exist.
type Config struct {
	// Listeners by name.
	Listeners map[string]*Listener
	// RouteTables by name. A listener's table that is missing answers 404 to all.
	RouteTables map[string]*RouteTable
	// Clusters by name. A route to a missing cluster answers 503.
	Clusters map[string]*Cluster
	// Assignments by Cluster.AssignmentName.
	Assignments map[string]*Assignment
	// Resolved are the endpoints of clusters by DNS, by the cluster's name. Missing is none.
	Resolved map[string]*Assignment
	// Certificates by secret name. A chain without its certificate refuses handshakes.
	Certificates map[string]*Certificate
	// TicketKeys by secret name. A chain without its keys has those of the process.
	TicketKeys map[string]*TicketKeys
	// Validations by secret name. A chain without the one that it names refuses handshakes.
	Validations map[string]*Validation
}

// Codec is which HTTP a connection speaks.
type Codec int

// The codecs.
const (
	// CodecAuto is by ALPN, or by HTTP/2's preface in plaintext.
	CodecAuto Codec = iota
	CodecHTTP1
	CodecHTTP2
)

// HTTP is one HTTP connection manager.
type HTTP struct {
	Codec Codec
	// RouteTableName is a name in Config.RouteTables, by RDS; empty if RouteTable stands here.
	RouteTableName string
	RouteTable     *RouteTable
	// IdleTimeout closes a connection without requests; 0 is never.
	IdleTimeout time.Duration
	// StreamIdleTimeout ends a request that moves neither way: 408 before the answer has begun, else a reset. 0 is never.
	StreamIdleTimeout time.Duration
	// RequestHeadersTimeout is from the first byte of a request to the end of its headers: 408. 0 is never.
	RequestHeadersTimeout time.Duration
	// RequestTimeout is for receiving a whole request: 408. 0 is never.
	RequestTimeout time.Duration
	// MaxConnectionDuration drains a connection of that age; 0 is never.
	MaxConnectionDuration time.Duration
	// MaxRequests is how many requests one connection may bring; the last is told. 0 is no bound.
	MaxRequests uint32
	// DrainTimeout is how long a draining HTTP/2 connection goes on after its first GOAWAY; 0 is 5 s.
	DrainTimeout time.Duration
	// MaxHeaderBytes limits a request's line and headers: 431. Always set (Envoy's default: 60 KiB).
	MaxHeaderBytes int
	// MaxHeaderCount limits the number of request headers: 431. Always set (Envoy's default: 100).
	MaxHeaderCount int
	// MaxConcurrentStreams per HTTP/2 connection. Always set.
	MaxConcurrentStreams uint32
	// InitialStreamWindow and InitialConnectionWindow are HTTP/2's, in bytes. Always set.
	InitialStreamWindow, InitialConnectionWindow uint32
	// UseRemoteAddress: the peer is the client: X-Forwarded-For gets the peer's address appended, X-Forwarded-Proto is set,
	// and what a stranger claims is not trusted.
	UseRemoteAddress bool
	// XffTrustedHops is Envoy's xff_num_trusted_hops.
	XffTrustedHops uint32
	// GenerateRequestID sets X-Request-Id where there is none (or from a stranger, unless PreserveRequestID).
	GenerateRequestID bool
	PreserveRequestID bool
	// AlwaysSetRequestIDInResponse returns it to the client.
	AlwaysSetRequestIDInResponse bool
	// NormalizePath resolves dot segments and decodes unreserved bytes before matching and forwarding, as Envoy does.
	NormalizePath bool
	// MergeSlashes merges adjacent slashes of the path.
	MergeSlashes bool
	// MatchSource tells routes the client's address: the connection's peer. Else no route that asks for it matches.
	MatchSource bool
	// RejectUnderscores answers 400 to a header name with an underscore.
	RejectUnderscores bool
	// ServerName is set as the Server header: overwriting if ServerOverwrite; empty passes the upstream's through.
	ServerName      string
	ServerOverwrite bool
	// AllowConnect offers extended CONNECT (RFC 8441) on HTTP/2.
	AllowConnect bool
	// Upgrades are the protocols that may be switched to; a route may say otherwise. What is not named is 403.
	Upgrades []Upgrade
	// AcceptHTTP10 serves HTTP/1.0 requests; else they get 426.
	AcceptHTTP10 bool
	// ForwardClient is what X-Forwarded-Client-Cert says of a client's certificate; nil says nothing. The header is taken away
	// from requests in any case.
	ForwardClient *ForwardClient
	// SuppressEnvoyHeaders: no x-envoy-* is added. decode refuses false.
	SuppressEnvoyHeaders bool
	// AccessLogs get one record each for every request.
	AccessLogs []*AccessLog
}

// TCP carries bytes to a cluster.
type TCP struct {
	Clusters []WeightedCluster
	// IdleTimeout closes a connection that moves neither way; 0 is never.
	IdleTimeout time.Duration
	// MaxConnectAttempts is how many endpoints are tried. Always set.
	MaxConnectAttempts uint32
	AccessLogs         []*AccessLog
}

// RouteTable is virtual hosts. https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route.proto
type RouteTable struct {
	Name  string
	Hosts []*VirtualHost
	// IgnorePort compares hosts without the port of the request's Host.
	IgnorePort bool
	// HostsApart: more hosts come by VHDS; they are in Hosts when they are there.
	HostsApart bool
}

// With is the table with more hosts.
func (t *RouteTable) With(hosts []*VirtualHost) *RouteTable {
	whole := *t
	whole.Hosts = append(t.Hosts[:len(t.Hosts):len(t.Hosts)], hosts...)
	return &whole
}

// VirtualHost is the routes for some domains, in order: the first match wins.
type VirtualHost struct {
	Name string
	// Domains are exact, "*.suffix", "prefix.*" or "*", lower case, and unique in their table.
	Domains []string
	Routes  []*Route
}

// PathKind is how a path is compared.
type PathKind int

// The kinds of path comparison.
const (
	// PathPrefix is by bytes; "/" fits all.
	PathPrefix PathKind = iota
	PathExact
	// PathSeparatedPrefix is Envoy's path_separated_prefix: the path itself, or followed by '/'.
	PathSeparatedPrefix
	// PathRegex is Match.PathRegex over the whole path.
	PathRegex
)

// Match holds if all parts hold. Paths are compared without the query.
type Match struct {
	PathKind PathKind
	// Path is what is compared; of PathRegex it is what all paths begin with that fit, perhaps nothing.
	Path string
	// PathRegex is set for PathRegex alone.
	PathRegex *regexp.Regexp
	Headers   []HeaderMatch
	Query     []QueryMatch
	// GRPC wants the content type application/grpc, or one that begins with application/grpc+.
	GRPC bool
	// Sources are networks, one of which the client's address is in; none is any. It is known where HTTP.MatchSource is set.
	Sources []netip.Prefix
	// Fraction is the share of the requests that all else fits; nil is all.
	Fraction *Fraction
}

// Fraction is Numerator of Denominator requests: those whose random number, modulo Denominator, is below Numerator.
type Fraction struct{ Numerator, Denominator uint32 }

// TextKind is how a text is compared.
type TextKind int

// The kinds of text comparison.
const (
	TextExact TextKind = iota
	TextPrefix
	TextSuffix
	TextContains
	TextRegex
	// TextPresent and TextAbsent do not look at the text.
	TextPresent
	TextAbsent
)

// Text is a comparison of a text.
type Text struct {
	Kind TextKind
	// Value is what is compared; of TextRegex it is the pattern, for people.
	Value string
	// Regex is set for TextRegex alone: it matches whole texts, in Latin-1 (a byte is a character) written as UTF-8.
	Regex *regexp.Regexp
}

// HeaderMatch compares one header (of several lines of a name any may match, by itself). ":method", ":authority", ":path"
// and ":scheme" are headers too. Name is in lower case.
type HeaderMatch struct {
	Name string
	Text
	// Invert: no line may match. A header that is not there holds only with TextAbsent and, if Invert, TextPresent.
	Invert bool
}

// QueryMatch compares the first parameter of a name in the query; nothing is decoded.
type QueryMatch struct {
	Name string
	Text
}

// Route is a match and an action. Exactly one of Clusters, ClusterHeader, Redirect and Respond is set.
type Route struct {
	// Name is the rule's identity, "Route/shop#api"; it may be empty.
	Name     string
	Match    Match
	Clusters []WeightedCluster
	// ClusterHeader is the header, in lower case, whose first line names the cluster: any that there is.
	ClusterHeader string
	Redirect      *Redirect
	Respond       *Response
	// Timeout is for the whole request: 504. 0 is none.
	Timeout time.Duration
	// IdleTimeout replaces HTTP.StreamIdleTimeout if set.
	IdleTimeout *time.Duration
	// Mirrors get copies of requests. They are of Clusters.
	Mirrors []Mirror
	// Upgrades go before HTTP.Upgrades, protocol by protocol.
	Upgrades []Upgrade
	// Rewrite is what the upstream sees instead; nil is the request's own. It is of Clusters.
	Rewrite *Rewrite
	// Retry is when a request that failed is sent again; nil is never. It is of Clusters.
	Retry *Retry
	// RequestHeaders and ResponseHeaders are changed on their way; nil is not.
	RequestHeaders, ResponseHeaders *HeaderChanges
}

// Mirror is a cluster that gets copies of requests. Fraction is of the request's one draw; nil is all.
type Mirror struct {
	Cluster  string
	Fraction *Fraction
	// ShadowHost writes "-shadow" behind the host's name.
	ShadowHost bool
}

// HeaderChanges are done in this order: what is named is removed, then all values are made, then those that overwrite are
// set, then the others added. Names are in lower case.
type HeaderChanges struct {
	Remove []string
	Add    []HeaderChange
}

// HeaderChange adds a header, in place of all others of its name if Overwrite is set. One whose value turns out empty is
// left out, and what was there stays, unless KeepEmpty is set.
type HeaderChange struct {
	Name, Value string
	// Variables is the value if it has operators in it; else it is nil.
	Variables Format
	Overwrite bool
	KeepEmpty bool
}

// Rewrite replaces parts of the request's URL; empty parts are kept, and so is the query.
type Rewrite struct {
	Host string
	// Prefix stands for what the match's path matched: all of it, of PathExact and PathRegex.
	Prefix string
	// Pattern is for parts of the path, and With stands for each, in the words of regexp's Expand; it is nil if Prefix is
	// set. It is matched as PathRegex is.
	Pattern *regexp.Regexp
	With    string
}

// Upgrade says whether HTTP may be switched to a protocol, by its name in the Upgrade header; case does not matter.
type Upgrade struct {
	Protocol string
	Enabled  bool
}

// WeightedCluster is a cluster and its share; a list's weights do not sum to 0.
type WeightedCluster struct {
	Name   string
	Weight uint32
}

// Redirect answers with the request's URL, with these parts replaced. Zero values keep the request's.
// The rules for ports are Envoy's: a scheme change drops the request's port if it is the old scheme's default (80, 443).
type Redirect struct {
	Scheme string
	Host   string
	Port   uint16
	Status int
	// Path is the whole path; with a query of its own it replaces the request's too. Rewrite changes the path instead.
	Path    string
	Rewrite *Rewrite
	// StripQuery leaves the request's query out.
	StripQuery bool
}

// Response is an answer of the proxy itself.
type Response struct {
	Status int
	Body   string
}
