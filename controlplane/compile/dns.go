package compile

import (
	"slices"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

var families = map[sluicev1.DNS_Family]ir.Family{
	sluicev1.DNS_V4_PREFERRED: ir.FamilyPreferIPv4,
	sluicev1.DNS_V4:           ir.FamilyIPv4,
	sluicev1.DNS_V6:           ir.FamilyIPv6,
	sluicev1.DNS_BOTH:         ir.FamilyBoth,
}

// lookups are how proxies look names up, and how the control plane looks SRV records up; nil where there are none. A
// Service has one kind at most.
func lookups(m *sluicev1.Service, endpoints []ir.Endpoint) (names, records *ir.DNS) {
	if slices.ContainsFunc(endpoints, func(e ir.Endpoint) bool { return e.Address.Records != "" }) {
		return nil, dns(m)
	}
	return dns(m), nil
}

// dns is how the names of a Service, with defaults, are looked up; nil if it has none. definition has checked all of it.
func dns(m *sluicev1.Service) *ir.DNS {
	d := m.GetDns()
	if d == nil {
		return nil
	}
	out := &ir.DNS{First: d.GetMode() == sluicev1.DNS_FIRST, Family: families[d.GetFamily()], RespectTTL: d.GetRespectTtl()}
	out.Refresh, _ = definition.ParseDuration(d.GetRefreshInterval())
	for _, text := range d.GetResolvers() {
		if address, err := definition.ParseResolver(text); err == nil {
			out.Resolvers = append(out.Resolvers, address)
		}
	}
	return out
}
