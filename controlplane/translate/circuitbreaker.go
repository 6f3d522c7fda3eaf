package translate

import (
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// circuitBreakers states all bounds. Envoy's own, 1024 each and three retries at a time, surprise: a busy service answers 503
// that nobody asked for, and retries are useless just when an endpoint of it dies.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto
func circuitBreakers(c *ir.Cluster) *clusterpb.CircuitBreakers {
	t := &clusterpb.CircuitBreakers_Thresholds{
		Priority:           corepb.RoutingPriority_DEFAULT,
		MaxConnections:     wrapperspb.UInt32(c.MaxConnections),
		MaxPendingRequests: wrapperspb.UInt32(c.MaxPending),
		MaxRequests:        wrapperspb.UInt32(c.MaxRequests),
	}
	if budget := c.Retries.Budget; budget != nil {
		t.RetryBudget = &clusterpb.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent:       &typepb.Percent{Value: budget.Percent},
			MinRetryConcurrency: wrapperspb.UInt32(budget.Least),
		}
	} else {
		t.MaxRetries = wrapperspb.UInt32(c.Retries.Max)
	}
	return &clusterpb.CircuitBreakers{Thresholds: []*clusterpb.CircuitBreakers_Thresholds{t}}
}
