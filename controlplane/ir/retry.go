package ir

import (
	"slices"
	"time"
)

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

// IdempotentMethods are those of which one request and two of it come to the same (RFC 9110, 9.2.2).
var IdempotentMethods = []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}

// untouched are the conditions under which an endpoint has certainly not begun with a request. Envoy's conditions that
// count every request without an answer as a failure have them in them.
var (
	untouched = []string{"connect-failure", "refused-stream", "reset-before-request"}
	anyReset  = []string{"5xx", "gateway-error", "reset"}
)

// SafeConditions are those of all of which an endpoint has not begun with the request: what is left of them for methods that are
// not idempotent.
func SafeConditions(all []string) []string {
	if slices.ContainsFunc(all, func(c string) bool { return slices.Contains(anyReset, c) }) {
		return untouched
	}
	return slices.DeleteFunc(slices.Clone(all), func(c string) bool { return !slices.Contains(untouched, c) })
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
