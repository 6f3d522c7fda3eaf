package translate

import (
	"net/netip"

	xdscorepb "github.com/cncf/xds/go/xds/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filterstatepb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setstatepb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// Envoy's routes do not see the client's address, but what a filter of the connection has put into its filter state. The
// filter stands only in chains whose routes ask for it.
const setStateName = "envoy.filters.network.set_filter_state"

// tablesBySource are the route tables with rules that ask for the client's address, by name.
func tablesBySource(all []*ir.RouteTable) map[string]bool {
	tables := map[string]bool{}
	for _, t := range all {
		for _, h := range t.Hosts {
			for j := range h.Rules {
				if len(h.Rules[j].Match.Sources) > 0 {
					tables[t.Name] = true
				}
			}
		}
	}
	return tables
}

// setSource keeps the address of the connection's peer.
func setSource() *listenerpb.Filter {
	return &listenerpb.Filter{
		Name: setStateName,
		ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: pack(&setstatepb.Config{
			OnNewConnection: []*filterstatepb.FilterStateValue{{
				Key:        &filterstatepb.FilterStateValue_ObjectKey{ObjectKey: resource.SourceKey},
				FactoryKey: "envoy.network.ip",
				Value: &filterstatepb.FilterStateValue_FormatString{FormatString: &corepb.SubstitutionFormatString{
					Format: &corepb.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corepb.DataSource{
						Specifier: &corepb.DataSource_InlineString{InlineString: resource.SourceFormat},
					}},
				}},
			}},
		})},
	}
}

// sources wants the address in one of the networks.
func sources(networks []netip.Prefix) *matcherpb.FilterStateMatcher {
	address := &matcherpb.AddressMatcher{}
	for _, n := range networks {
		address.Ranges = append(address.Ranges, &xdscorepb.CidrRange{AddressPrefix: n.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(n.Bits()))})
	}
	return &matcherpb.FilterStateMatcher{Key: resource.SourceKey, Matcher: &matcherpb.FilterStateMatcher_AddressMatch{AddressMatch: address}}
}
