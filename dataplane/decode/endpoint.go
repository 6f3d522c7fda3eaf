package decode

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// assignment reads an EDS resource.
func (d *decoder) assignment() *config.Assignment {
	m := d.message.(*endpointpb.ClusterLoadAssignment)
	return &config.Assignment{Name: m.GetClusterName(), Endpoints: d.endpoints("", m)}
}

// endpoints reads them in order, of all localities together. An address that stands twice counts once, as in Envoy: the
// first.
func (d *decoder) endpoints(at string, m *endpointpb.ClusterLoadAssignment) []config.Endpoint {
	prefix := at
	if prefix != "" {
		prefix += "."
	}
	var out []config.Endpoint
	seen := map[config.Address]bool{}
	var sum uint64
	type place struct {
		priority uint32
		config.Locality
	}
	places := map[place]uint32{}
	for i, l := range m.GetEndpoints() {
		locality := localityOf(l)
		weight := l.GetLoadBalancingWeight().GetValue()
		here := place{l.GetPriority(), locality}
		if other, twice := places[here]; twice && other != weight {
			d.refuse(fmt.Sprintf("%sendpoints[%d].load_balancing_weight", prefix, i), "got %d for a locality that has %d already at this priority, want one weight", weight, other)
		}
		places[here] = weight
		for j, e := range l.GetLbEndpoints() {
			endpoint, ok := d.endpoint(prefix, i, j, e)
			if !ok || seen[endpoint.Address] {
				continue
			}
			seen[endpoint.Address] = true
			endpoint.Priority, endpoint.Locality, endpoint.LocalityWeight = l.GetPriority(), locality, weight
			sum += uint64(endpoint.Weight)
			out = append(out, endpoint)
		}
	}
	if sum > math.MaxUint32 {
		d.refuse(prefix+"endpoints", "got weights that sum to %d, want at most %d", sum, uint32(math.MaxUint32))
	}
	return out
}

func localityOf(l *endpointpb.LocalityLbEndpoints) config.Locality {
	m := l.GetLocality()
	return config.Locality{Region: m.GetRegion(), Zone: m.GetZone(), SubZone: m.GetSubZone()}
}

// told is what EDS says of an endpoint's health. The walk has refused what is not here.
func told(m *endpointpb.LbEndpoint) (unhealthy, draining bool) {
	switch m.GetHealthStatus() {
	case corepb.HealthStatus_UNHEALTHY, corepb.HealthStatus_TIMEOUT:
		return true, false
	case corepb.HealthStatus_DRAINING:
		return false, true
	}
	return false, false
}

// endpoint reads one; false leaves it out. The path is built only for a refusal: there may be many thousands.
func (d *decoder) endpoint(at string, i, j int, m *endpointpb.LbEndpoint) (config.Endpoint, bool) {
	here := func() string { return fmt.Sprintf("%sendpoints[%d].lb_endpoints[%d]", at, i, j) }
	address, err := endpointAddress(m.GetEndpoint().GetAddress())
	if err != "" {
		d.missing(here(), "%s", err)
		return config.Endpoint{}, false
	}
	out := config.Endpoint{
		Address: address,
		Weight:  number(m.GetLoadBalancingWeight(), 1),
		HashKey: hashKey(m),
	}
	out.Unhealthy, out.Draining = told(m)
	return out, true
}

// maxSocketPath is what a sockaddr_un holds, without the NUL, in bytes.
const maxSocketPath = 107

// endpointAddress reads an address that can be connected to. The text says what is wrong with it; "" is nothing.
func endpointAddress(m *corepb.Address) (config.Address, string) {
	if pipe := m.GetPipe(); pipe != nil {
		path := pipe.GetPath()
		if wrong := socketPath(path); wrong != "" {
			return config.Address{}, wrong
		}
		return config.Address{Path: path}, ""
	}
	socket := m.GetSocketAddress()
	ip, err := netip.ParseAddr(socket.GetAddress())
	if err != nil || ip.Zone() != "" || socket.GetPortValue() == 0 || socket.GetPortValue() > 65535 {
		return config.Address{}, fmt.Sprintf("got %s, want an IP address and a port", quote(fmt.Sprintf("%s:%d", socket.GetAddress(), socket.GetPortValue())))
	}
	return config.At(netip.AddrPortFrom(ip.Unmap(), uint16(socket.GetPortValue()))), ""
}

// socketPath says what is wrong with a unix socket's path; "" is nothing. As Envoy, it is taken as it stands; '@' first is
// Linux's abstract namespace.
func socketPath(path string) string {
	switch {
	case path == "" || path == "@":
		return fmt.Sprintf("got the path %s, want one of a unix socket", quote(path))
	case len(path) > maxSocketPath:
		return fmt.Sprintf("got a path of %d bytes, want at most %d", len(path), maxSocketPath)
	case strings.ContainsRune(path, 0):
		return fmt.Sprintf("got a NUL in the path %s, want none", quote(path))
	}
	return ""
}
