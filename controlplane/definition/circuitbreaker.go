package definition

import (
	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

const (
	// defaultBreaker only stops a runaway.
	defaultBreaker = 100_000
	// Of two endpoints of which one is dead, half of the requests under way are retries: they all get through. If four of
	// five are, there is no endpoint that is well, and more of them would only do harm.
	defaultBudgetPercent = "80%"
	defaultBudgetLeast   = 10
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
	if b.Retries != nil {
		return
	}
	if b.RetryBudget == nil {
		b.RetryBudget = &sluicev1.RetryBudget{}
	}
	orText(&b.RetryBudget.Percent, defaultBudgetPercent)
	if b.RetryBudget.MinConcurrency == nil {
		b.RetryBudget.MinConcurrency = proto.Uint32(defaultBudgetLeast)
	}
}
