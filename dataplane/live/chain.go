package live

import (
	"math"
	"reflect"
	"sync/atomic"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/httpproxy"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/dataplane/tcpproxy"
)

// chain is a filter chain that runs. What decides how its connections are served is fixed; its match, certificates and
// routes may change under them.
type chain struct {
	listener *running
	name     string
	// config is the newest; who serves a connection reads it once.
	config atomic.Pointer[config.FilterChain]
	// tls is nil in plaintext.
	tls  *certs.Server
	http *httpproxy.Proxy
	tcp  *tcpproxy.Proxy
	// limit bounds the chain's connections, those of its former configurations among them.
	limit listener.Limit
	state atomic.Pointer[httpproxy.State]
	// inline is the route table that stands in config, or nil. Guarded by Runtime.mu.
	inline *route.Table
	// release gives the access logs back, once.
	release func()

	// Guarded by registry.mu. retired: the newest version does not have it.
	retired bool
	active  int
}

func (r *Runtime) newChain(l *running, cfg *config.FilterChain) (*chain, error) {
	c := &chain{listener: l, name: cfg.Name}
	c.config.Store(cfg)
	var sinks []*config.AccessLog
	if cfg.HTTP != nil {
		sinks = cfg.HTTP.AccessLogs
	} else {
		sinks = cfg.TCP.AccessLogs
	}
	loggers, release, err := r.logs.acquire(sinks)
	if err != nil {
		return nil, err
	}
	c.release = release
	if cfg.TLS != nil {
		c.tls = certs.NewServer(l.name + "/" + cfg.Name)
	}
	if cfg.HTTP != nil {
		c.http = httpproxy.New(httpproxy.Options{Config: cfg.HTTP, State: c.state.Load, Logs: loggers, Stats: l.http})
	} else {
		c.tcp = tcpproxy.New(tcpproxy.Options{Config: cfg.TCP, Cluster: r.cluster, Logs: loggers, Stats: l.tcp})
	}
	return c, nil
}

// cluster is tcpproxy's way to the clusters of the moment.
func (r *Runtime) cluster(name string) (tcpproxy.Dialer, *cluster.Stats, bool) {
	client, ok := (*r.clusters.Load())[name]
	if !ok {
		return nil, nil, false
	}
	return client, client.Cluster.Stats, true
}

// serves tells whether connections of the chain are served right by another configuration: its match, its limit, what
// it presents and its routes are swapped in place.
func (c *chain) serves(cfg *config.FilterChain) bool {
	old := c.config.Load()
	if old == cfg {
		return true
	}
	return old.Name == cfg.Name && sameClients(old.TLS, cfg.TLS) && (old.HTTP == nil) == (cfg.HTTP == nil) &&
		reflect.DeepEqual(old.TCP, cfg.TCP) && (old.HTTP == nil || sameHTTP(*old.HTTP, *cfg.HTTP))
}

// sameClients: who was taken would be taken again. Another authority of the same name does not count, as in Envoy.
func sameClients(a, b *config.DownstreamTLS) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.DeepEqual(a.Clients, b.Clients)
}

func sameHTTP(a, b config.HTTP) bool {
	a.RouteTable, a.RouteTableName, b.RouteTable, b.RouteTableName = nil, "", nil, ""
	return reflect.DeepEqual(a, b)
}

// become takes a configuration that the chain serves. Runtime.mu is held.
func (c *chain) become(cfg *config.FilterChain, w *world) {
	if cfg.HTTP != nil {
		switch {
		case cfg.HTTP.RouteTable == nil:
			c.inline = nil
		case c.inline == nil || !same(c.inline.Config(), cfg.HTTP.RouteTable):
			c.inline = route.New(cfg.HTTP.RouteTable)
		}
	}
	c.limit.Set(int64(min(cfg.MaxConnections, math.MaxInt64)))
	c.config.Store(cfg)
	c.swapState(w)
}

// swapState lets the next requests be served from a world. Runtime.mu is held.
func (c *chain) swapState(w *world) {
	if cfg := c.config.Load(); cfg.HTTP != nil {
		c.state.Store(w.state(cfg.HTTP, c.inline))
	}
}

// retire drains the chain's connections, and lets go of its logs when the last has ended.
func (c *chain) retire() {
	c.listener.runtime.conns.retire(c)
}
