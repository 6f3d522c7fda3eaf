package config

import (
	"net/netip"
	"time"
)

// DNS is endpoints by name: STRICT_DNS and LOGICAL_DNS.
type DNS struct {
	// First: the newest first address of the one name is the endpoint (LOGICAL_DNS); else all of all names are.
	First bool
	Names []NamedEndpoint
	// Family is which addresses are asked for.
	Family Family
	// RespectTTL asks again when the answer's TTL is over; else, and where there is none, after Refresh. Always set.
	RespectTTL bool
	Refresh    time.Duration
	// MinRefresh is how soon it is asked again at the earliest. Jitter is added at random, up to that much.
	MinRefresh, Jitter time.Duration
	// FailureBase and FailureMax are the back-off after failures. Always set.
	FailureBase, FailureMax time.Duration
	// Resolvers are asked in place of those of the system.
	Resolvers []netip.AddrPort
}

// NamedEndpoint is a name, or an IP address, and a port. The rest is each address's, as in Endpoint.
type NamedEndpoint struct {
	Host    string
	Port    uint16
	Weight  uint32
	HashKey string

	Priority            uint32
	Locality            Locality
	LocalityWeight      uint32
	Unhealthy, Draining bool
}

// Family is which addresses of a name count.
type Family int

// The families.
const (
	// FamilyPreferIPv6 is IPv6, and IPv4 where there is none: Envoy's AUTO.
	FamilyPreferIPv6 Family = iota
	FamilyIPv4
	FamilyIPv6
	// FamilyPreferIPv4 is IPv4, and IPv6 where there is none.
	FamilyPreferIPv4
	FamilyBoth
)
