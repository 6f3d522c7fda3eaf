package translate

import (
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// The limit on a cluster's retries that no definition sets. Envoy's, three at a time, makes retries useless just when an
// endpoint of a busy service dies. Of two endpoints of which one is dead, half of the requests under way are retries: they
// all get through. If four of five are, there is no endpoint that is well, and more of them would only do harm.
var defaultRetryBudget = ir.RetryBudget{Percent: 80, Least: 10}

// retryLimit states the limit on retries, whatever it is.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/circuit_breaker.proto
func retryLimit(t *clusterpb.CircuitBreakers_Thresholds, l *ir.RetryLimit) {
	budget := &defaultRetryBudget
	if l != nil {
		budget = l.Budget
	}
	if budget == nil {
		t.MaxRetries = wrapperspb.UInt32(l.Max)
		return
	}
	t.RetryBudget = &clusterpb.CircuitBreakers_Thresholds_RetryBudget{
		BudgetPercent:       &typepb.Percent{Value: budget.Percent},
		MinRetryConcurrency: wrapperspb.UInt32(budget.Least),
	}
}
