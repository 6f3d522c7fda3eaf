package definition

import (
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

const (
	// defaultBreaker only stops a runaway.
	defaultBreaker = 100_000
	// A budget that is asked for is Envoy's. None is by default, and no tight limit either: they fail just when an endpoint dies,
	// since requests that wait for their retry are then most of those under way. With a budget of 80% a third of the requests
	// failed of a Service of which one endpoint of two was dead (measured, with both kinds of proxy). What bounds the harm
	// is how often a rule sends a request again: once, if it does not say more.
	defaultBudgetPercent = "20%"
	defaultBudgetLeast   = 3
)

// checkCircuitBreaker looks at what the schema cannot.
func checkCircuitBreaker(b *sluicev1.CircuitBreaker, report reporter) {
	if text := b.GetRetryBudget().GetPercent(); text != "" {
		if _, err := ParseFraction(text); err != nil {
			report("circuitBreaker.retryBudget.percent", CodeInvalidValue, err.Error())
		}
	}
}

func circuitBreakerDefaults(b *sluicev1.CircuitBreaker) {
	orNumber(&b.Connections, defaultBreaker)
	orNumber(&b.PendingRequests, defaultBreaker)
	orNumber(&b.Requests, defaultBreaker)
	if b.RetryBudget == nil {
		if b.Retries == nil {
			b.Retries = proto.Uint32(defaultBreaker)
		}
		return
	}
	orText(&b.RetryBudget.Percent, defaultBudgetPercent)
	if b.RetryBudget.MinConcurrency == nil {
		b.RetryBudget.MinConcurrency = proto.Uint32(defaultBudgetLeast)
	}
}
