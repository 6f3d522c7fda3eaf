// Package outlier takes endpoints out for a while that answer with failures, as Envoy's outlier detection does.
//
// In: what the request walk suspects (cluster.Note). Out: illnesses in the endpoints' Loads, and a line in the log for each
// change. It must not know requests: it is off their path.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
package outlier

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Detector watches one cluster, through its versions.
type Detector struct {
	config *config.Outliers
	logger *slog.Logger
	cancel context.CancelFunc
	ended  chan struct{}
	// version is any: it knows the newest.
	version *cluster.Cluster
	// accounts are those of endpoints that were taken out. Only run.
	accounts map[*cluster.Load]*account
}

// account is what is known of an endpoint that was taken out, once or several times.
type account struct {
	// times is how often, less one for each sweep that found it in: its time is so many times BaseTime.
	times int
	// since is when it was taken out, and extra what its time is longer by.
	since time.Time
	extra time.Duration
}

// Watch begins to watch a cluster whose configuration has Outliers.
func Watch(v *cluster.Cluster, logger *slog.Logger) *Detector {
	ctx, cancel := context.WithCancel(context.Background())
	d := &Detector{
		config: v.Config.Outliers, logger: logger, cancel: cancel, ended: make(chan struct{}),
		version: v, accounts: map[*cluster.Load]*account{},
	}
	go func() {
		defer close(d.ended)
		d.run(ctx)
	}()
	return d
}

// Config is what the Detector goes by.
func (d *Detector) Config() *config.Outliers { return d.config }

// Close ends the watch, and all ejections.
func (d *Detector) Close() {
	d.cancel()
	<-d.ended
	newest := d.version.Newest()
	for _, e := range newest.Endpoints {
		e.Recover(cluster.Ejected)
	}
	newest.Refresh()
}

func (d *Detector) run(ctx context.Context) {
	sweep := time.NewTicker(d.config.Interval)
	defer sweep.Stop()
	for {
		select {
		case <-d.version.Suspected():
			d.look(time.Now())
		case <-sweep.C:
			d.sweep(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// look looks at who is suspected.
func (d *Detector) look(now time.Time) {
	v := d.version.Newest()
	for _, e := range v.Endpoints {
		seen := e.Suspicions()
		out := e.Illness()&cluster.Ejected != 0
		switch {
		case seen == 0:
		case out && seen&cluster.CheckedWell != 0 && d.config.CheckEnds:
			d.admit(v, e, "a health check went well")
		case out:
			// It is out already: who had its requests by then may go on to fail.
		default:
			if seen&cluster.FailingGateway != 0 {
				d.eject(v, e, now, cluster.FailingGateway, d.config.EnforcingGateway, d.config.ConsecutiveGateway, "502, 503 or 504")
			}
			if seen&cluster.Failing5xx != 0 && e.Illness()&cluster.Ejected == 0 {
				d.eject(v, e, now, cluster.Failing5xx, d.config.Enforcing5xx, d.config.Consecutive5xx, "5xx")
			}
		}
	}
}

// eject takes an endpoint out, unless too many are out already.
func (d *Detector) eject(v *cluster.Cluster, e *cluster.Endpoint, now time.Time, why cluster.Suspicion, enforcing, failures uint32, kind string) {
	e.Forget(why)
	out, all := census(v)
	if 100*float64(out+1)/float64(all) > float64(d.config.MaxPercent) && !(d.config.AlwaysOne && out == 0) {
		v.Stats.EjectionOverflows.Add(1)
		return
	}
	if rand.Uint32N(100) >= enforcing {
		return
	}
	a := d.accounts[e.Load]
	if a == nil {
		a = &account{}
		d.accounts[e.Load] = a
	}
	a.since, a.extra = now, 0
	if d.config.Jitter > 0 {
		a.extra = rand.N(d.config.Jitter + 1)
	}
	// Beyond the most there is nothing to count.
	if time.Duration(a.times)*d.config.BaseTime < d.config.MaxTime+d.config.BaseTime {
		a.times++
	}
	e.Fall(cluster.Ejected)
	v.Stats.Ejections.Add(1)
	v.Refresh()
	d.log(v, e).Warn("endpoint is taken out: it answers with failures", "answers", kind, "in_a_row", failures, "for", d.sentence(a).String())
}

// census counts who is out, of all. An address that stands twice is one.
func census(v *cluster.Cluster) (out, all int) {
	seen := make(map[*cluster.Load]bool, len(v.Endpoints))
	for _, e := range v.Endpoints {
		if seen[e.Load] {
			continue
		}
		seen[e.Load] = true
		if e.Illness()&cluster.Ejected != 0 {
			out++
		}
	}
	return out, len(seen)
}

// sentence is how long an endpoint is out.
func (d *Detector) sentence(a *account) time.Duration {
	return min(time.Duration(a.times)*d.config.BaseTime, d.config.MaxTime) + a.extra
}

// sweep brings those back whose time is over, and forgets what is long past.
func (d *Detector) sweep(now time.Time) {
	v := d.version.Newest()
	here := make(map[*cluster.Load]bool, len(d.accounts))
	for _, e := range v.Endpoints {
		a := d.accounts[e.Load]
		if a == nil || here[e.Load] {
			continue
		}
		here[e.Load] = true
		switch {
		case e.Illness()&cluster.Ejected != 0:
			if now.Sub(a.since) >= d.sentence(a) {
				d.admit(v, e, "its time is over")
			}
		case a.times > 1:
			a.times--
		default:
			delete(d.accounts, e.Load)
		}
	}
	for load := range d.accounts {
		if !here[load] {
			delete(d.accounts, load)
		}
	}
}

func (d *Detector) admit(v *cluster.Cluster, e *cluster.Endpoint, why string) {
	e.Forget(cluster.Failing5xx | cluster.FailingGateway)
	e.Recover(cluster.Ejected)
	v.Refresh()
	d.log(v, e).Info("endpoint is used again", "why", why)
}

func (d *Detector) log(v *cluster.Cluster, e *cluster.Endpoint) *slog.Logger {
	return d.logger.With("cluster", v.Config.Name, "endpoint", e.Address.String())
}
