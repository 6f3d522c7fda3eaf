package compile

import (
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
