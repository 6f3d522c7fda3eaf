package compile

import (
	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// circuitBreaker reads a Service's bounds, whose defaults are filled in.
func circuitBreaker(c *ir.Cluster, b *sluicev1.CircuitBreaker) {
	c.MaxConnections, c.MaxPending, c.MaxRequests = b.GetConnections(), b.GetPendingRequests(), b.GetRequests()
	c.Retries.Max = b.GetRetries()
	if budget := b.GetRetryBudget(); budget != nil {
		// definition has checked it.
		millionths, _ := definition.ParseFraction(budget.GetPercent())
		c.Retries.Budget = &ir.RetryBudget{Percent: float64(millionths) / 10_000, Least: budget.GetMinConcurrency()}
	}
}
