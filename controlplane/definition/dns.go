package definition

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

const (
	defaultRefresh = "5s"
	// leastRefresh keeps name servers from a storm.
	leastRefresh = time.Second
)

// named tells whether an endpoint of a Service has a name: proxies look up hosts, and the control plane SRV records.
func named(s *sluicev1.Service) bool {
	for _, e := range s.GetEndpoints() {
		if address, err := ParseAddress(e.GetAddress()); err == nil && (address.Host != "" || address.Records != "") {
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
			report("dns", CodeExclusive, "got dns without an endpoint that has a name, want one such as app.internal:8080 or srv:_http._tcp.app.internal")
		}
		return
	}
	hosts, records := checkNames(s, report)
	switch {
	case d.GetMode() != sluicev1.DNS_FIRST:
	case records && !hosts:
		report("dns.mode", CodeExclusive, "got FIRST with SRV records, want ALL, or no mode: all of their servers are endpoints")
	case len(s.GetEndpoints()) > 1:
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

// checkNames looks at what stands beside names, and tells of which kinds they are.
func checkNames(s *sluicev1.Service, report reporter) (hosts, records bool) {
	addresses := make([]ir.Address, len(s.GetEndpoints()))
	sharers := map[uint32]int{}
	for i, e := range s.GetEndpoints() {
		address, err := ParseAddress(e.GetAddress())
		if err != nil { // it has been said
			continue
		}
		addresses[i] = address
		hosts, records = hosts || address.Host != "", records || address.Records != ""
		sharers[e.GetPriority()]++
	}
	for i, e := range s.GetEndpoints() {
		address, at := addresses[i], itemPath("endpoints", i)
		switch {
		case address.Path != "" && hosts:
			report(at+".address", CodeExclusive, "got a unix socket beside names, want another Service for it: a rule may have several backends")
		case address.Host != "" && e.GetHashKey() != "" && s.GetDns().GetMode() != sluicev1.DNS_FIRST:
			report(at+".hashKey", CodeExclusive, "got hashKey for a name, want none, or dns.mode FIRST: all addresses of the name would be one to the hash")
		}
		if address.Records == "" {
			continue
		}
		if hosts {
			report(at+".address", CodeExclusive, "got SRV records beside a name that proxies look up, want another Service for them: a rule may have several backends")
		}
		if e.GetHashKey() != "" {
			report(at+".hashKey", CodeExclusive, "got hashKey for SRV records, want none: each of their servers is known by its address")
		}
		if e.GetWeight() > defaultWeight {
			report(at+".weight", CodeExclusive, fmt.Sprintf("got %d for SRV records, want none: they bring weights", e.GetWeight()))
		}
		if sharers[e.GetPriority()] > 1 {
			report(at+".address", CodeExclusive, fmt.Sprintf("got SRV records beside another endpoint of priority %d, want a priority of their own, or another Service: the weights of records do not compare with others", e.GetPriority()))
		}
	}
	return hosts, records
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
