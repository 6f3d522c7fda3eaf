// Package cluster is a set of endpoints that answer alike: who is chosen, how busy they are, and how many requests may
// be under way.
//
// In: config's nouns. Out: an Endpoint for a request. It must not know how an endpoint is spoken to: upstream does.
package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Cluster is one version of a cluster. Read-only after New, but for who may be chosen; what counts is behind pointers
// that versions share.
type Cluster struct {
	Config    *config.Cluster
	Endpoints []*Endpoint
	Stats     *Stats
	// given are Endpoints as they were configured.
	given []config.Endpoint
	// choice is replaced by Refresh.
	choice   atomic.Pointer[choice]
	versions *versions
	// stale: something has changed since choice was made.
	stale atomic.Bool
	// mu is for Refresh and Close.
	mu     sync.Mutex
	timer  *time.Timer // guarded by mu; nil if there is nothing to wait for
	closed bool        // guarded by mu
}

// versions is what the versions of a cluster share.
type versions struct {
	newest atomic.Pointer[Cluster]
	// suspected has room for one: somebody's Load has a suspicion.
	suspected chan struct{}
}

// Newest is the version that was made last.
func (c *Cluster) Newest() *Cluster { return c.versions.newest.Load() }

// Endpoint is one address. Versions of a cluster share the Load of an address.
type Endpoint struct {
	Address  config.Address
	Weight   uint32
	Priority uint32
	Locality config.Locality
	// Hostname is the name that it was found by; empty is none.
	Hostname string
	*Load
}

// Load is how busy an endpoint is, and how it has done.
type Load struct {
	// Active is the requests in flight: who sends one adds, and subtracts when it ends.
	Active atomic.Int64
	// Requests and Failures are counted since the endpoint was first seen; a failure is a connection or an answer that
	// did not come.
	Requests, Failures atomic.Int64
	// illness is a set of Illness. It is written seldom.
	illness atomic.Uint32
	// failures5xx and failuresGateway are answers in a row, for Outliers, and suspicions what was seen by them.
	failures5xx, failuresGateway, suspicions atomic.Uint32
	// since is when the endpoint was first seen, or when health checks found it healthy again, in nanoseconds from epoch.
	since atomic.Int64
	// Endpoints that are busy on different cores share no cache line.
	_ [16]byte
}

// Stats counts for a cluster, through all its versions.
type Stats struct {
	Requests, RequestsActive atomic.Int64
	// Overflows are requests refused by the circuit breaker.
	Overflows                           atomic.Int64
	ConnectionsTotal, ConnectionsActive atomic.Int64
	ConnectFailures, ConnectTimeouts    atomic.Int64
	// TLSFailures are those of ConnectFailures that were there, and then failed in the handshake: who answered was not to be
	// trusted, or did not trust us.
	TLSFailures atomic.Int64
	// Resets are upstreams that went away before the end of their answer; Timeouts are requests that took too long.
	Resets, Timeouts atomic.Int64
	// Retries are requests sent again, and RetriesActive those of which it is not known yet what came of it. RetrySuccesses
	// are requests answered below 500 in the end; RetriesExhausted were sent again as often as their route allows, and
	// RetryOverflows not, for the circuit breaker's sake.
	Retries, RetriesActive                           atomic.Int64
	RetrySuccesses, RetriesExhausted, RetryOverflows atomic.Int64
	// Checks are health checks that were made, CheckFailures those that failed.
	Checks, CheckFailures atomic.Int64
	// Ejections are endpoints that Outliers took out, EjectionOverflows those that it left since too many were out already.
	Ejections, EjectionOverflows atomic.Int64
	// PanicPicks are endpoints chosen, ill or not, since too few of their priority were healthy.
	PanicPicks atomic.Int64
	// Mirrors are copies of requests for other clusters that were begun, and MirrorsDropped those that were not, or not sent to
	// their end.
	Mirrors, MirrorsDropped  atomic.Int64
	BytesSent, BytesReceived atomic.Int64
	// Status counts answers by class: Status[2] is 2xx.
	Status [6]atomic.Int64
}

// New makes a version of a cluster; Close ends it. Stats and the Load of addresses that stay are those of old, which may be nil.
func New(cfg *config.Cluster, endpoints []config.Endpoint, old *Cluster) *Cluster {
	c := &Cluster{Config: cfg, Stats: &Stats{}, given: endpoints, versions: &versions{suspected: make(chan struct{}, 1)}}
	now := int64(time.Since(epoch))
	loads := map[config.Address]*Load{}
	if old != nil {
		c.Stats, c.versions = old.Stats, old.versions
		for _, e := range old.Endpoints {
			loads[e.Address] = e.Load
		}
	}
	for _, e := range endpoints {
		load := loads[e.Address]
		if load == nil {
			load = &Load{}
			load.since.Store(now)
			// As with Envoy: who is new gets nothing before its first check.
			load.set(FailedCheck, cfg.HealthCheck != nil)
			// An address that stands twice is one endpoint with two shares: its load is one too.
			loads[e.Address] = load
		}
		load.set(Told, e.Unhealthy)
		load.set(Draining, e.Draining)
		c.Endpoints = append(c.Endpoints, &Endpoint{Address: e.Address, Weight: max(1, e.Weight), Hostname: e.Hostname, Priority: e.Priority, Locality: e.Locality, Load: load})
	}
	c.versions.newest.Store(c)
	c.refresh()
	return c
}

// Acquire counts a request in, unless Config.MaxRequests are under way. After true, Release must follow.
func (c *Cluster) Acquire() bool {
	if n := c.Stats.RequestsActive.Add(1); n > int64(c.Config.MaxRequests) {
		c.Stats.RequestsActive.Add(-1)
		c.Stats.Overflows.Add(1)
		return false
	}
	c.Stats.Requests.Add(1)
	return true
}

// Release counts a request out.
func (c *Cluster) Release() { c.Stats.RequestsActive.Add(-1) }
