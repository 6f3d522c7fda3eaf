package translate

import (
	"cmp"
	"net/netip"
	"slices"

	"google.golang.org/protobuf/types/known/wrapperspb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// overprovisioning is Envoy's default, in percent: while 1/1.4, 72 %, of a priority or of a zone is healthy, it gets its full
// share.
const overprovisioning = 140

// assignment is a Service's endpoints: by priority, in each by zone as they come first, in each in the order written. A
// Service without any has an empty assignment, not a missing one (xDS rule 14): a proxy that waits for it would hold its
// listeners back.
func assignment(c *ir.Cluster) *endpointpb.ClusterLoadAssignment {
	m := &endpointpb.ClusterLoadAssignment{
		ClusterName: c.Name,
		Policy:      &endpointpb.ClusterLoadAssignment_Policy{OverprovisioningFactor: wrapperspb.UInt32(overprovisioning)},
	}
	type place struct {
		priority uint32
		zone     string
	}
	localities := map[place]*endpointpb.LocalityLbEndpoints{}
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		at := place{e.Priority, e.Zone}
		locality := localities[at]
		if locality == nil {
			locality = &endpointpb.LocalityLbEndpoints{Priority: e.Priority}
			if e.Zone != "" {
				locality.Locality = &corepb.Locality{Zone: e.Zone}
			}
			if weight := c.ZoneWeights[e.Zone]; weight > 0 {
				// Envoy knows no 0: unset gets nothing.
				locality.LoadBalancingWeight = wrapperspb.UInt32(weight)
			}
			localities[at] = locality
			m.Endpoints = append(m.Endpoints, locality)
		}
		var health corepb.HealthStatus
		if e.Drain {
			health = corepb.HealthStatus_DRAINING
		}
		locality.LbEndpoints = append(locality.LbEndpoints, &endpointpb.LbEndpoint{
			HealthStatus: health,
			HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{
				Address: endpointAddress(e.Address),
			}},
			LoadBalancingWeight: wrapperspb.UInt32(e.Weight),
			Metadata:            hashKey(e),
		})
	}
	slices.SortStableFunc(m.Endpoints, func(a, b *endpointpb.LocalityLbEndpoints) int { return cmp.Compare(a.Priority, b.Priority) })
	return m
}

// endpointAddress is where an endpoint answers.
func endpointAddress(a ir.Address) *corepb.Address {
	if a.Path != "" {
		return &corepb.Address{Address: &corepb.Address_Pipe{Pipe: &corepb.Pipe{Path: a.Path}}}
	}
	if a.Host != "" {
		return &corepb.Address{Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{
			Address:       a.Host,
			PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: uint32(a.NamedPort)},
		}}}
	}
	return address(a.AddrPort, false)
}

// address is a TCP address. bothFamilies takes IPv4 on an IPv6 socket.
func address(a netip.AddrPort, bothFamilies bool) *corepb.Address {
	return &corepb.Address{Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{
		Address:       a.Addr().String(),
		PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: uint32(a.Port())},
		Ipv4Compat:    bothFamilies,
	}}}
}
