package translate

import (
	"slices"

	"google.golang.org/protobuf/types/known/wrapperspb"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// upgrades is where a rule differs from its listener, which allows WebSocket and nothing else.
func upgrades(protocols []string) []*routepb.RouteAction_UpgradeConfig {
	var out []*routepb.RouteAction_UpgradeConfig
	if !slices.Contains(protocols, ir.WebSocket) {
		out = append(out, &routepb.RouteAction_UpgradeConfig{UpgradeType: ir.WebSocket, Enabled: wrapperspb.Bool(false)})
	}
	for _, p := range protocols {
		if p != ir.WebSocket {
			out = append(out, &routepb.RouteAction_UpgradeConfig{UpgradeType: p, Enabled: wrapperspb.Bool(true)})
		}
	}
	return out
}
