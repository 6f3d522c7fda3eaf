package config

import "time"

// CheckKind is how a HealthCheck asks.
type CheckKind int

// The kinds of checks.
const (
	CheckTCP CheckKind = iota
	CheckHTTP
	CheckGRPC
)

// HealthCheck asks each endpoint of a cluster whether it is well.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/health_check.proto
type HealthCheck struct {
	Kind CheckKind
	// Timeout is how long a check may take.
	Timeout time.Duration
	// Interval is after a check that went well, UnhealthyInterval after one that failed. HealthyEdgeInterval and
	// UnhealthyEdgeInterval stand in for them while the threshold is not reached yet. NoTrafficInterval and, after a check
	// that went well, NoTrafficHealthyInterval are for a cluster that no connection was made to. All are at least 1 ms.
	Interval, UnhealthyInterval                 time.Duration
	HealthyEdgeInterval, UnhealthyEdgeInterval  time.Duration
	NoTrafficInterval, NoTrafficHealthyInterval time.Duration
	// InitialJitter is how much later the first check may be, IntervalJitter each that follows, and JitterPercent that in
	// percent of the interval.
	InitialJitter, IntervalJitter time.Duration
	JitterPercent                 uint32
	// UnhealthyThreshold and HealthyThreshold are how many in a row change something: at least 1.
	UnhealthyThreshold, HealthyThreshold uint32
	// Reuse: an endpoint's checks share a connection as long as it lasts.
	Reuse bool

	// Method, Path and HTTP2 are for CheckHTTP. Host is for CheckHTTP and, as :authority, for CheckGRPC.
	Method, Path, Host string
	HTTP2              bool
	// Expected are the statuses that are well; Retriable, among the others, are those that count against the threshold: the
	// rest take the endpoint out at once.
	Expected, Retriable []StatusRange
	// Service is what CheckGRPC asks after.
	Service string
}

// StatusRange is the statuses from Start on, and below End.
type StatusRange struct{ Start, End int }

// Outliers takes out endpoints that answer with failures.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto
type Outliers struct {
	// Consecutive5xx and ConsecutiveGateway (502, 503 and 504) are how many in a row; 0 is never. Enforcing5xx and
	// EnforcingGateway are in how many of a hundred cases the endpoint is taken out then.
	Consecutive5xx, ConsecutiveGateway uint32
	Enforcing5xx, EnforcingGateway     uint32
	// Interval is between sweeps. An endpoint is out for BaseTime times how often it was of late, MaxTime at most, and Jitter.
	Interval, BaseTime, MaxTime, Jitter time.Duration
	// MaxPercent of all endpoints may be out at once; AlwaysOne: one may in any case.
	MaxPercent uint32
	AlwaysOne  bool
	// CheckEnds: a health check that goes well ends it.
	CheckEnds bool
}
