package live

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/healthcheck"
	"github.com/sluice-proxy/sluice/dataplane/outlier"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// firstChecks is how long a new cluster, or new endpoints of one that has no others, may take to be asked for the first time
// before they serve, so that a swap shows no 503. Whoever has not answered by then counts as ill. Envoy waits for as long
// as a check may take.
const firstChecks = time.Second

// watchers look after the endpoints' health: by the name of the cluster. Guarded by Runtime.mu.
type watchers struct {
	checks   map[string]checks
	outliers map[string]*outlier.Detector
}

type checks struct {
	// cluster is what the Checker dials by.
	cluster *config.Cluster
	// client is the newest.
	client *atomic.Pointer[upstream.Client]
	*healthcheck.Checker
}

// watch looks after the endpoints of a world that is to come, and waits for first checks.
func (r *Runtime) watch(next *world) {
	if r.watchers.checks == nil {
		r.watchers = watchers{checks: map[string]checks{}, outliers: map[string]*outlier.Detector{}}
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstChecks)
	defer cancel()
	for name, old := range r.watchers.checks {
		if client := next.clusters[name]; client == nil || client.Cluster.Config.HealthCheck == nil {
			old.Close()
			old.Absolve()
			delete(r.watchers.checks, name)
		}
	}
	for name, old := range r.watchers.outliers {
		if client := next.clusters[name]; client == nil || !same(client.Cluster.Config.Outliers, old.Config()) {
			old.Close()
			delete(r.watchers.outliers, name)
		}
	}
	for name, client := range next.clusters {
		v := client.Cluster
		if v.Config.HealthCheck != nil {
			r.check(name, client)
		}
		if v.Config.Outliers != nil && r.watchers.outliers[name] == nil {
			r.watchers.outliers[name] = outlier.Watch(v, r.options.Logger)
		}
	}
	for _, c := range r.watchers.checks {
		c.Wait(ctx)
	}
}

// check has a cluster's version asked. Connections are made as the cluster's configuration says, so a new one is asked anew;
// who the endpoints are does not matter to those that stay.
func (r *Runtime) check(name string, client *upstream.Client) {
	cfg := client.Cluster.Config
	old, known := r.watchers.checks[name]
	if known && dialsAlike(old.cluster, cfg) {
		old.client.Store(client)
		old.Follow(client.Cluster, nil)
		return
	}
	if known {
		old.Close()
	}
	newest := &atomic.Pointer[upstream.Client]{}
	newest.Store(client)
	dial := func(ctx context.Context, a config.Address) (net.Conn, error) { return newest.Load().DialCheck(ctx, a) }
	c := healthcheck.New(cfg.HealthCheck, dial, r.options.Logger)
	c.Follow(client.Cluster, old.Checker)
	r.watchers.checks[name] = checks{cluster: cfg, client: newest, Checker: c}
}

// dialsAlike says whether two versions of a cluster differ in nothing but who its endpoints are.
func dialsAlike(a, b *config.Cluster) bool {
	one, other := *a, *b
	one.Static, other.Static = nil, nil
	return same(&one, &other)
}

// unwatch ends all that watch began. Who is ill stays so.
func (w *watchers) unwatch() {
	for _, c := range w.checks {
		c.Close()
	}
	for _, d := range w.outliers {
		d.Close()
	}
	*w = watchers{}
}
