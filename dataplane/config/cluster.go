package config

import (
	"cmp"
	"time"
)

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

// HashKey is one thing that a request is known by: Envoy's hash policy.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction-hashpolicy
type HashKey struct {
	Kind HashKind
	// Name is the header's, in lower case, the cookie's or the parameter's; a source address has none.
	Name string
	// MakeCookie: a missing cookie is made. TTL (0 is a session's) and Path are its own.
	MakeCookie bool
	TTL        time.Duration
	Path       string
	// Terminal: if there is a hash by now, what follows does not count.
	Terminal bool
}

// Cluster is a set of endpoints that answer alike.
type Cluster struct {
	Name string
	// AssignmentName is the name of its endpoints in Config.Assignments (EDS); empty is Static.
	AssignmentName string
	// DNS is where the endpoints are looked up; nil is nowhere. Those found are in Config.Resolved.
	DNS *DNS
	// Static are the endpoints themselves (STATIC).
	Static         []Endpoint
	ConnectTimeout time.Duration
	// HTTP2 is HTTP/2 with prior knowledge; else HTTP/1.1.
	HTTP2 bool
	// TLS is how the endpoints are spoken to; nil is plaintext.
	TLS *UpstreamTLS
	// SendProxyHeader is the version of the PROXY protocol's header that each connection begins with, 1 or 2; 0 is none.
	SendProxyHeader int
	// IdleTimeout closes an upstream connection without requests; 0 is never.
	IdleTimeout time.Duration
	Policy      Policy
	// ChoiceCount is for LeastRequest: 2 to 100.
	ChoiceCount uint32
	// HashOn is for RingHash and Maglev; a request that has none of it goes to any endpoint.
	HashOn []HashKey
	// MinRingSize and MaxRingSize are for RingHash, TableSize, a prime number, is for Maglev.
	MinRingSize, MaxRingSize, TableSize uint32
	// PanicThreshold: a priority with fewer healthy endpoints, in percent, uses them all; 0 is never.
	PanicThreshold uint32
	// SlowStart is for RoundRobin and LeastRequest; without a Window there is none.
	SlowStart SlowStart
	// LocalityWeighted: requests of a priority are shared by LocalityWeight, then by Weight; else localities mean nothing.
	LocalityWeighted bool
	// HealthCheck and Outliers are nil where there are none.
	HealthCheck *HealthCheck
	Outliers    *Outliers
	// MaxConnections, MaxPending and MaxRequests are the circuit breaker's. Always set (Envoy's default: 1024 each).
	MaxConnections, MaxPending, MaxRequests uint32
	// MaxRetries is how many retries may be under way (Envoy's default: 3), unless there is a RetryBudget.
	MaxRetries  uint32
	RetryBudget *RetryBudget
}

// Assignment is the endpoints of a cluster: a ClusterLoadAssignment.
type Assignment struct {
	Name      string
	Endpoints []Endpoint
}

// SlowStart gives a new endpoint, or one that health checks have just found healthy, its weight little by little.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/slow_start
type SlowStart struct {
	Window time.Duration
	// Aggression is more than 0: 1 is an even growth, more a faster one at first.
	Aggression float64
	// MinWeight is the least part of its weight, 0 to 1.
	MinWeight float64
}

// Locality is a place. Parts may be empty.
type Locality struct{ Region, Zone, SubZone string }

// Compare sorts as Envoy does.
func (l Locality) Compare(other Locality) int {
	return cmp.Or(cmp.Compare(l.Region, other.Region), cmp.Compare(l.Zone, other.Zone), cmp.Compare(l.SubZone, other.SubZone))
}

// Endpoint is one address; Weight is at least 1.
type Endpoint struct {
	Address Address
	Weight  uint32
	// HashKey is what RingHash and Maglev know it by; empty is the address.
	HashKey string
	// Priority: 0 is used first, others as the health of those before them falls.
	Priority uint32
	// Locality is where it is, and LocalityWeight what the locality gets of its priority, if the cluster is LocalityWeighted.
	Locality       Locality
	LocalityWeight uint32
	// Unhealthy and Draining are what EDS says.
	Unhealthy, Draining bool
	// Hostname is the name that the address was found by; empty is none.
	Hostname string
}
