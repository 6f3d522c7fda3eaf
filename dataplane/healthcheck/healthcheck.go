// Package healthcheck asks the endpoints of a cluster, again and again, whether they are well, and notes who is not.
//
// In: the versions of a cluster whose configuration has health checks. Out: illnesses in their endpoints' Loads, and a line in
// the log for each change. It must not know who chooses among endpoints, nor how a connection is made: Dial is handed to it.
package healthcheck

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Dial connects to an endpoint, as the newest version of its cluster says.
type Dial func(ctx context.Context, address config.Address) (net.Conn, error)

// Checker asks the endpoints of one cluster, through its versions: a goroutine for each. One goroutine may call it.
type Checker struct {
	config *config.HealthCheck
	dial   Dial
	logger *slog.Logger
	// asked are those who are asked. Only the caller's goroutine.
	asked  map[*cluster.Load]*session
	newest *cluster.Cluster
	wg     sync.WaitGroup
}

// New makes a Checker that asks nobody yet.
func New(c *config.HealthCheck, dial Dial, logger *slog.Logger) *Checker {
	return &Checker{config: c, dial: dial, logger: logger, asked: map[*cluster.Load]*session{}}
}

// Config is what New was given.
func (c *Checker) Config() *config.HealthCheck { return c.config }

// Follow asks the endpoints of a version from now on: those that were asked before go on as they were, those that are gone
// are asked no more. before, which may be nil, is the Checker that this one stands in for: whom it has asked is not new.
func (c *Checker) Follow(v *cluster.Cluster, before *Checker) {
	if c.newest == v {
		return
	}
	c.newest = v
	kept := make(map[*cluster.Load]bool, len(v.Endpoints))
	for _, e := range v.Endpoints {
		kept[e.Load] = true
		if c.asked[e.Load] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		s := &session{
			config: c.config, cluster: v, endpoint: e, logger: c.logger, cancel: cancel, checked: make(chan struct{}),
			probe: newProbe(c.config, func(ctx context.Context) (net.Conn, error) { return c.dial(ctx, e.Address) }),
			count: count{first: before == nil || before.asked[e.Load] == nil}, unproven: e.Illness()&cluster.FailedCheck != 0,
		}
		c.asked[e.Load] = s
		c.wg.Go(func() { s.run(ctx) })
	}
	for load, s := range c.asked {
		if !kept[load] {
			s.cancel()
			delete(c.asked, load)
		}
	}
}

// Wait returns when all endpoints have been asked once, when one of them is healthy that was before, or when ctx ends.
func (c *Checker) Wait(ctx context.Context) {
	for _, s := range c.asked {
		if !s.isNew() && s.endpoint.Healthy() {
			return
		}
	}
	for _, s := range c.asked {
		select {
		case <-s.checked:
		case <-ctx.Done():
			return
		}
	}
}

// Close ends all checks, and returns when none is under way.
func (c *Checker) Close() {
	for _, s := range c.asked {
		s.cancel()
	}
	c.wg.Wait()
}

// Absolve ends the illnesses that checks have found: nobody asks any more. After Close.
func (c *Checker) Absolve() {
	for load := range c.asked {
		load.Recover(cluster.FailedCheck)
	}
	if c.newest != nil {
		c.newest.Newest().Refresh()
	}
}

// session is one endpoint's checks.
type session struct {
	config   *config.HealthCheck
	cluster  *cluster.Cluster
	endpoint *cluster.Endpoint
	probe    probe
	logger   *slog.Logger
	cancel   context.CancelFunc
	// checked is closed after the first check.
	checked chan struct{}
	// unproven was not known to be well when it began to be asked. Its health alone could not say so: it may have become
	// well a moment ago, with its first check not yet announced.
	unproven bool
	// count is only run's.
	count count
}

func (s *session) isNew() bool {
	select {
	case <-s.checked:
		return false
	default:
		return s.unproven
	}
}

func (s *session) run(ctx context.Context) {
	defer s.probe.close()
	timer := time.NewTimer(jitter(s.config.InitialJitter))
	defer timer.Stop()
	for round := 0; ; round++ {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		verdict, why := s.check(ctx)
		if ctx.Err() != nil {
			return
		}
		pending := s.note(verdict, why)
		if round == 0 {
			close(s.checked)
		}
		timer.Reset(s.wait(verdict, pending))
	}
}

func (s *session) check(ctx context.Context) (verdict, string) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	return s.probe.ask(ctx)
}

// note makes a check's verdict the endpoint's, and tells whether it lacks others to change something.
func (s *session) note(v verdict, why string) (pending bool) {
	stats := s.cluster.Stats
	stats.Checks.Add(1)
	if v != well {
		stats.CheckFailures.Add(1)
	}
	e := s.endpoint
	failed := e.Illness()&cluster.FailedCheck != 0
	first := s.count.first
	changed, pending := s.count.next(s.config, v, failed)
	log := s.logger.With("cluster", s.cluster.Config.Name, "endpoint", e.Address.String())
	switch {
	case changed && failed:
		e.Recover(cluster.FailedCheck)
		s.cluster.Newest().Refresh()
		if !first {
			log.Info("endpoint is well again: its health checks pass")
		}
	case changed:
		e.Fall(cluster.FailedCheck)
		s.cluster.Newest().Refresh()
		log.Warn("endpoint is ill: its health checks fail", "why", why)
	case first && failed && v != well:
		log.Warn("endpoint is ill: its first health check fails", "why", why)
	}
	if v == well && e.Illness()&cluster.Ejected != 0 {
		s.cluster.Suspect(e, cluster.CheckedWell)
	}
	return pending
}

// wait is how long until the next check, as Envoy has it.
func (s *session) wait(v verdict, pending bool) time.Duration {
	c := s.config
	wait := c.Interval
	switch traffic := s.cluster.Stats.ConnectionsTotal.Load() > 0; {
	case !traffic && v == well:
		wait = c.NoTrafficHealthyInterval
	case !traffic:
		wait = c.NoTrafficInterval
	case v == well && pending:
		wait = c.HealthyEdgeInterval
	case v != well && pending:
		wait = c.UnhealthyEdgeInterval
	case v != well:
		wait = c.UnhealthyInterval
	}
	wait += jitter(c.IntervalJitter)
	if c.JitterPercent > 0 {
		wait += jitter(time.Duration(float64(wait) * float64(c.JitterPercent) / 100))
	}
	return max(wait, time.Millisecond)
}

// jitter is up to so long.
func jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most + 1)
}
