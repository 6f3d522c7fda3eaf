package config

import (
	"slices"
	"strings"
	"time"
)

// RetryOn is a set of conditions: what counts as a failure.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
type RetryOn uint32

// The conditions.
const (
	// On5xx is an answer of 500 to 599, and every failure without an answer.
	On5xx RetryOn = 1 << iota
	// OnGatewayError is an answer of 502, 503 or 504, and every failure without an answer.
	OnGatewayError
	// OnReset is every failure without an answer.
	OnReset
	OnConnectFailure
	// OnRefusedStream is an HTTP/2 upstream that says that it has not begun.
	OnRefusedStream
	// OnResetBeforeRequest is a failure before anything of the request was sent.
	OnResetBeforeRequest
	// OnRetriable4xx is an answer of 409.
	OnRetriable4xx
	// OnStatusCodes is an answer of one of Retry.StatusCodes.
	OnStatusCodes
	// The following are statuses of gRPC in an answer's header.
	OnCancelled
	OnDeadlineExceeded
	OnInternal
	OnResourceExhausted
	OnUnavailable
)

// retryWords are Envoy's words for the conditions, in the order of their bits.
var retryWords = []string{
	"5xx", "gateway-error", "reset", "connect-failure", "refused-stream", "reset-before-request", "retriable-4xx",
	"retriable-status-codes", "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
}

// ParseRetryOn is the condition of one of Envoy's words.
func ParseRetryOn(word string) (on RetryOn, ok bool) {
	i := slices.Index(retryWords, word)
	if i < 0 {
		return 0, false
	}
	return 1 << i, true
}

// String is Envoy's words, "5xx,reset".
func (on RetryOn) String() string {
	var words []string
	for i, word := range retryWords {
		if on&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, ",")
}

// Retry is when a request that failed is sent again.
type Retry struct {
	On RetryOn
	// StatusCodes are for OnStatusCodes.
	StatusCodes []uint32
	// Requests are what a request must have one of; none is any request.
	Requests []HeaderMatch
	// Attempts is how often it is sent again at most.
	Attempts uint32
	// PerTryTimeout is from when all of the request is sent until the answer begins. 0 is none.
	PerTryTimeout time.Duration
	// BackOffBase and BackOffMax bound the wait before a retry, which is drawn: the first from below the base, each further
	// one from below twice as much, up to the maximum. Base is more than 0.
	BackOffBase, BackOffMax time.Duration
	// Reselect is how often an endpoint is picked anew that has failed already; 0 takes whichever is picked.
	Reselect int
	// BodyBytes is how much of a body is kept; a request with more is not sent again.
	BodyBytes int
}

// RetryBudget limits a cluster's retries under way to Percent (0 to 100) of its requests under way, but never below Least.
type RetryBudget struct {
	Percent float64
	Least   uint32
}
