// Package address says whose doings are counted together.
//
// In: a peer's address. Out: a key. It must not know what is counted.
package address

import (
	"net"
	"net/netip"
)

// Of is the key of an address: a host, of IPv6 its /64, which one machine may have all of.
func Of(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Is4() || ip.Is4In6() {
		return host
	}
	network, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return network.String()
}
