package translate

import (
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// retryLimit states the limit on retries, whatever it is.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto
func retryLimit(t *clusterpb.CircuitBreakers_Thresholds, l *ir.RetryLimit) {
	switch {
	case l == nil:
		// Envoy's own, three at a time, and any share of the requests under way, fail just when an endpoint dies: requests that
		// wait for their retry are then most of those under way. With a budget of 80% a third of the requests failed of a
		// Service of which one endpoint of two was dead (measured, with both kinds of proxy). What bounds the harm is how often
		// a rule sends a request again: once, if it does not say more.
		t.MaxRetries = wrapperspb.UInt32(circuitBreaker)
	case l.Budget == nil:
		t.MaxRetries = wrapperspb.UInt32(l.Max)
	default:
		t.RetryBudget = &clusterpb.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent:       &typepb.Percent{Value: l.Budget.Percent},
			MinRetryConcurrency: wrapperspb.UInt32(l.Budget.Least),
		}
	}
}
