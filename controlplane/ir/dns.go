package ir

import (
	"net/netip"
	"time"
)

// DNS is how a cluster's names are looked up.
type DNS struct {
	// First: the newest first address of the one name is the endpoint; else all addresses of all names are.
	First  bool
	Family Family
	// RespectTTL asks again when the answer's TTL is over; else, and where there is none, after Refresh.
	RespectTTL bool
	Refresh    time.Duration
	// Resolvers are asked in place of those of the proxy's system.
	Resolvers []netip.AddrPort
}

// Family is which addresses of a name count.
type Family int

// The families.
const (
	// FamilyPreferIPv4 is IPv4, and IPv6 where there is none.
	FamilyPreferIPv4 Family = iota
	FamilyIPv4
	FamilyIPv6
	FamilyBoth
)
