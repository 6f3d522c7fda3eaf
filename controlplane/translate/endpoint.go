package translate

import (
	"net/netip"

	"google.golang.org/protobuf/types/known/wrapperspb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// assignment is a Service's endpoints, in the order written. A Service without any has an empty assignment, not a
// missing one (xDS rule 14): a proxy that waits for it would hold its listeners back.
func assignment(c *ir.Cluster) *endpointpb.ClusterLoadAssignment {
	m := &endpointpb.ClusterLoadAssignment{ClusterName: c.Name}
	if len(c.Endpoints) == 0 {
		return m
	}
	locality := &endpointpb.LocalityLbEndpoints{}
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		locality.LbEndpoints = append(locality.LbEndpoints, &endpointpb.LbEndpoint{
			HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{
				Address: endpointAddress(e.Address),
			}},
			LoadBalancingWeight: wrapperspb.UInt32(e.Weight),
			Metadata:            hashKey(e),
		})
	}
	m.Endpoints = append(m.Endpoints, locality)
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
