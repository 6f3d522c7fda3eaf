package ir

import "time"

// HealthCheck asks each endpoint whether it is well: exactly one of HTTP and GRPC is set, or neither, for TCP.
type HealthCheck struct {
	HTTP *HTTPCheck
	GRPC *GRPCCheck
	// Interval is after a check that went well, UnhealthyInterval after one that failed; both are at least 10 ms. Jitter is
	// how much later it may be. Timeout is how long a check may take: at least 1 ms.
	Interval, UnhealthyInterval, Jitter, Timeout time.Duration
	// HealthyThreshold and UnhealthyThreshold are how many checks in a row change something: at least 1.
	HealthyThreshold, UnhealthyThreshold uint32
}

// HTTPCheck is a request.
type HTTPCheck struct {
	Method, Path, Host string
	// Statuses are the answers that are well: at least one.
	Statuses []StatusRange
}

// StatusRange is from First to Last, both in it: 100 to 599.
type StatusRange struct{ First, Last int }

// GRPCCheck asks after a service; empty is the whole server.
type GRPCCheck struct{ Service, Authority string }

// Outliers takes out endpoints that answer with failures.
type Outliers struct {
	// Consecutive5xx and ConsecutiveGateway are how many in a row; 0 does not count them.
	Consecutive5xx, ConsecutiveGateway uint32
	// Interval is between sweeps. An endpoint is out for BaseTime times how often it was, and MaxTime at most.
	Interval, BaseTime, MaxTime time.Duration
	// MaxPercent is how many of all endpoints may be out: 1 to 100.
	MaxPercent uint32
}
