package decode

import (
	"fmt"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// mirrors reads where copies of requests go. https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction-requestmirrorpolicy
func (d *decoder) mirrors(at string, policies []*routepb.RouteAction_RequestMirrorPolicy) []config.Mirror {
	var out []config.Mirror
	for i, m := range policies {
		if m.GetCluster() == "" {
			d.missing(fmt.Sprintf("%s.request_mirror_policies[%d].cluster", at, i), `got "", want a name`)
		}
		mirror := config.Mirror{Cluster: m.GetCluster(), ShadowHost: !m.GetDisableShadowHostSuffixAppend()}
		if f := m.GetRuntimeFraction(); f != nil {
			mirror.Fraction = fraction(f.GetDefaultValue())
		}
		out = append(out, mirror)
	}
	return out
}
