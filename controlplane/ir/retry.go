package ir

import "time"

// Retry says when a request that failed is sent again.
type Retry struct {
	// Conditions are what counts as a failure, in Envoy's words, in the order written; StatusCodes are answers that do too.
	Conditions  []string
	StatusCodes []uint32
	// Attempts is how often it is sent again at most: at least 1.
	Attempts uint32
	// PerTryTimeout is for each try until its answer begins. 0 is none.
	PerTryTimeout time.Duration
	// BackOffBase and BackOffMax bound the wait before a retry, in whole milliseconds, at least 1.
	BackOffBase, BackOffMax time.Duration
	// SameEndpoint does not look for an endpoint that has not failed.
	SameEndpoint bool
	// NonIdempotent: requests whose method is not idempotent too are sent again when an endpoint may have begun with them.
	NonIdempotent bool
	// BodyBytes is how much of a body is kept.
	BodyBytes uint64
}

// RetryLimit limits a cluster's requests that are being sent again, in one proxy.
type RetryLimit struct {
	// Max is how many there may be, unless Budget is set. 0 is none.
	Max uint32
	// Budget is a share of the requests under way; nil is not.
	Budget *RetryBudget
}

// RetryBudget is Percent (0 to 100) of the cluster's requests under way, but always Least.
type RetryBudget struct {
	Percent float64
	Least   uint32
}
