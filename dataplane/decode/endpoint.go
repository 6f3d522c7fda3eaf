package decode

import (
	"fmt"
	"math"
	"net/netip"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// assignment reads an EDS resource.
func (d *decoder) assignment() *config.Assignment {
	m := d.message.(*endpointpb.ClusterLoadAssignment)
	return &config.Assignment{Name: m.GetClusterName(), Endpoints: d.endpoints("", m)}
}

// endpoints reads those that Envoy would send to, in order, of all localities together. An address that stands twice
// counts once, as in Envoy: the first.
func (d *decoder) endpoints(at string, m *endpointpb.ClusterLoadAssignment) []config.Endpoint {
	if at != "" {
		at += "."
	}
	var out []config.Endpoint
	seen := map[config.Address]bool{}
	var sum uint64
	for i, l := range m.GetEndpoints() {
		for j, e := range l.GetLbEndpoints() {
			endpoint, ok := d.endpoint(at, i, j, e)
			if !ok || seen[endpoint.Address] {
				continue
			}
			seen[endpoint.Address] = true
			sum += uint64(endpoint.Weight)
			out = append(out, endpoint)
		}
	}
	if sum > math.MaxUint32 {
		d.refuse(at+"endpoints", "got weights that sum to %d, want at most %d", sum, uint32(math.MaxUint32))
	}
	return out
}

// endpoint reads one; false leaves it out. The path is built only for a refusal: there may be many thousands.
func (d *decoder) endpoint(at string, i, j int, m *endpointpb.LbEndpoint) (config.Endpoint, bool) {
	here := func() string { return fmt.Sprintf("%sendpoints[%d].lb_endpoints[%d]", at, i, j) }
	socket := m.GetEndpoint().GetAddress().GetSocketAddress()
	ip, err := netip.ParseAddr(socket.GetAddress())
	if err != nil || ip.Zone() != "" || socket.GetPortValue() == 0 || socket.GetPortValue() > 65535 {
		d.missing(here(), "got %s, want an IP address and a port",
			quote(fmt.Sprintf("%s:%d", socket.GetAddress(), socket.GetPortValue())))
		return config.Endpoint{}, false
	}
	out := config.Endpoint{
		Address: config.At(netip.AddrPortFrom(ip.Unmap(), uint16(socket.GetPortValue()))),
		Weight:  number(m.GetLoadBalancingWeight(), 1),
		HashKey: hashKey(m),
	}
	switch m.GetHealthStatus() {
	case corepb.HealthStatus_UNKNOWN, corepb.HealthStatus_HEALTHY:
		return out, true
	case corepb.HealthStatus_UNHEALTHY, corepb.HealthStatus_DRAINING, corepb.HealthStatus_TIMEOUT:
		return out, false
	}
	// The walk has refused all others.
	return out, false
}
