package definition

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

const (
	defaultRefresh = "5s"
	// leastRefresh keeps name servers from a storm.
	leastRefresh = time.Second
)

// named tells whether an endpoint of a Service has a name.
func named(s *sluicev1.Service) bool {
	for _, e := range s.GetEndpoints() {
		if address, err := ParseAddress(e.GetAddress()); err == nil && address.Host != "" {
			return true
		}
	}
	return false
}

func dnsDefaults(d *sluicev1.DNS) {
	if d == nil {
		return
	}
	if d.GetMode() == sluicev1.DNS_MODE_UNSPECIFIED {
		d.Mode = sluicev1.DNS_ALL
	}
	if d.GetFamily() == sluicev1.DNS_FAMILY_UNSPECIFIED {
		d.Family = sluicev1.DNS_V4_PREFERRED
	}
	orText(&d.RefreshInterval, defaultRefresh)
	if d.RespectTtl == nil {
		d.RespectTtl = proto.Bool(true)
	}
}

// checkDNS looks at names, and at how they are looked up.
func checkDNS(s *sluicev1.Service, report reporter) {
	d := s.GetDns()
	if !named(s) {
		if d != nil {
			report("dns", CodeExclusive, "got dns without an endpoint that has a name, want one such as app.internal:8080")
		}
		return
	}
	for i, e := range s.GetEndpoints() {
		address, err := ParseAddress(e.GetAddress())
		at := itemPath("endpoints", i)
		switch {
		case err != nil: // it has been said
		case address.Path != "":
			report(at+".address", CodeExclusive, "got a unix socket beside names, want another Service for it: a rule may have several backends")
		case address.Host != "" && e.GetHashKey() != "" && d.GetMode() != sluicev1.DNS_FIRST:
			report(at+".hashKey", CodeExclusive, "got hashKey for a name, want none, or dns.mode FIRST: all addresses of the name would be one to the hash")
		}
	}
	if d.GetMode() == sluicev1.DNS_FIRST && len(s.GetEndpoints()) > 1 {
		report("dns.mode", CodeExclusive, fmt.Sprintf("got FIRST with %d endpoints, want one", len(s.GetEndpoints())))
	}
	checkDuration(d.GetRefreshInterval(), "dns.refreshInterval", report)
	if refresh, err := time.ParseDuration(d.GetRefreshInterval()); err == nil && refresh < leastRefresh {
		report("dns.refreshInterval", CodeDuration, fmt.Sprintf("got %q, want at least %s", d.GetRefreshInterval(), leastRefresh))
	}
	for i, text := range d.GetResolvers() {
		if _, err := ParseResolver(text); err != nil {
			report(itemPath("dns.resolvers", i), CodeBadAddress, err.Error())
		}
	}
}

// dnsPort is that of name servers (RFC 1035, 4.2).
const dnsPort = 53

// ParseResolver reads a name server's address: IP, or IP:port.
func ParseResolver(text string) (netip.AddrPort, error) {
	address, err := netip.ParseAddrPort(text)
	if err != nil {
		ip, bad := netip.ParseAddr(strings.Trim(text, "[]"))
		address, err = netip.AddrPortFrom(ip, dnsPort), bad
	}
	if err != nil || address.Port() == 0 || address.Addr().Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("got %q, want IP or IP:port, such as 10.0.0.53", shorten(text))
	}
	return netip.AddrPortFrom(address.Addr().Unmap(), address.Port()), nil
}
