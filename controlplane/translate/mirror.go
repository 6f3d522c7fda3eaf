package translate

import (
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// mirrors are where copies go. Envoy writes "-shadow" behind the host of a copy unless it is told not to: it is, since a
// service that knows its own hosts would answer such a one with an error.
func mirrors(list []ir.Mirror) []*routepb.RouteAction_RequestMirrorPolicy {
	var out []*routepb.RouteAction_RequestMirrorPolicy
	for _, m := range list {
		out = append(out, &routepb.RouteAction_RequestMirrorPolicy{
			Cluster: m.Cluster,
			// Millionths, as in matches.
			RuntimeFraction: &corepb.RuntimeFractionalPercent{
				DefaultValue: &typepb.FractionalPercent{Numerator: m.Fraction, Denominator: typepb.FractionalPercent_MILLION},
			},
			TraceSampled:                  wrapperspb.Bool(false),
			DisableShadowHostSuffixAppend: true,
		})
	}
	return out
}
