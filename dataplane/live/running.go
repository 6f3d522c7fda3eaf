package live

import (
	"fmt"
	"net"
	"sync/atomic"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/httpproxy"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/tcpproxy"
)

// running is a listener by its name: its counters live as long as the name does, its versions come and go.
type running struct {
	runtime *Runtime
	name    string
	stats   *listener.Stats
	http    *httpproxy.Stats
	tcp     *tcpproxy.Stats
	// requestsRefused were answered 503 for want of memory; bodiesSlow were given up.
	requestsRefused, bodiesSlow atomic.Int64
	// headers are the bad ones.
	headers headerLog
	version atomic.Pointer[version]
	// socket is guarded by Runtime.mu.
	socket *served
}

// served is a socket that accepts. It may pass from one listener to another.
type served struct {
	key    socketKey
	socket *listener.Socket
	owner  atomic.Pointer[running]
	// taken is guarded by Runtime.mu: within one Apply, who came has it from who leaves.
	taken bool
}

func (s *served) close() { s.socket.Close() }

// version is one configuration of a listener. Its chains are fixed; some of them may be those of the version before.
type version struct {
	config  *config.Listener
	chooser *listener.Chooser
	// chains are in the order of config.Chains; last is config.Default's, or nil.
	chains []*chain
	last   *chain
}

func (v *version) choose(hello listener.Hello) *chain {
	if i := v.chooser.Choose(hello); i >= 0 {
		return v.chains[i]
	}
	return v.last
}

func (v *version) all() []*chain {
	if v.last == nil {
		return v.chains
	}
	return append(v.chains[:len(v.chains):len(v.chains)], v.last)
}

// retire drains the chains that next, which may be nil, does not have.
func (v *version) retire(next *version) {
	kept := map[*chain]bool{}
	if next != nil {
		for _, c := range next.all() {
			kept[c] = true
		}
	}
	for _, c := range v.all() {
		if !kept[c] {
			c.retire()
		}
	}
}

func (v *version) swapStates(w *world) {
	for _, c := range v.all() {
		c.swapState(w)
	}
}

// applyListener makes or changes one listener. On an error it is as it was before.
func (r *Runtime) applyListener(cfg *config.Listener, leaving map[socketKey]*served) error {
	l := r.listeners[cfg.Name]
	var old *version
	if l == nil {
		l = &running{runtime: r, name: cfg.Name, stats: &listener.Stats{}, http: &httpproxy.Stats{}, tcp: &tcpproxy.Stats{}}
	} else {
		old = l.version.Load()
	}
	reuse := old
	if old != nil && old.config.ProxyHeader != cfg.ProxyHeader {
		// Who has been believed, or not, must come again: as with Envoy, all connections drain.
		reuse = nil
	}
	next, plan, err := r.newVersion(l, cfg, reuse)
	if err != nil {
		plan.discard()
		l.stay(leaving)
		return err
	}
	socket, fresh, err := r.socketFor(l, cfg, leaving)
	if err == nil {
		err = socket.socket.SetMode(cfg.Mode)
	}
	if err != nil {
		plan.discard()
		l.stay(leaving)
		return err
	}
	plan.commit(&r.world)
	l.version.Store(next)
	if old != nil && old != next {
		old.retire(next)
		r.conns.rechoose(l, next)
	}
	r.listeners[cfg.Name] = l
	l.socket = socket
	socket.owner.Store(l)
	if fresh {
		socket.socket.Serve(listener.Options{
			Limit:       r.limit,
			Clients:     r.clients,
			Announced:   func() bool { return socket.owner.Load().announced() },
			Pressure:    r.options.Pressure,
			Logger:      r.options.Logger,
			Connections: &r.connections,
			Stats:       func() *listener.Stats { return socket.owner.Load().stats },
			Handle:      func(conn net.Conn, resume func()) listener.Handler { return socket.owner.Load().accepted(conn, resume) },
			Shed:        func(conn net.Conn, why listener.Reason) { socket.owner.Load().shed(conn, why) },
		})
	}
	return nil
}

// stay keeps the socket of a listener that could not move, if nobody has taken it.
func (l *running) stay(leaving map[socketKey]*served) {
	if l.socket != nil && !l.socket.taken {
		delete(leaving, l.socket.key)
	}
}

// socketFor finds a listener's socket: its own, one that another gives up, one that Bind opened, or a new one. The old
// one, if it is another, stays among those that leave: new clients find the new address before the old is gone.
func (r *Runtime) socketFor(l *running, cfg *config.Listener, leaving map[socketKey]*served) (s *served, fresh bool, err error) {
	key := keyOf(cfg)
	if l.socket != nil && l.socket.key == key && !l.socket.taken {
		return l.socket, false, nil
	}
	if s := leaving[key]; s != nil && !s.taken {
		s.taken = true
		return s, false, nil
	}
	if b := r.bound[key]; b != nil {
		delete(r.bound, key)
		return &served{key: key, socket: b.socket}, true, nil
	}
	for name, other := range r.listeners {
		if name != l.name && other.socket != nil && other.socket.key == key {
			return nil, false, fmt.Errorf("address %s is listener %q's", key.place, name)
		}
	}
	socket, err := r.options.Inherited.Bind(listener.PlaceOf(cfg))
	if err != nil {
		return nil, false, err
	}
	return &served{key: key, socket: socket}, true, nil
}

// plan is what a new version changes once it is sure to run.
type plan struct {
	made    []*chain
	changes []func(*world)
}

func (p *plan) discard() {
	for _, c := range p.made {
		c.release()
	}
}

func (p *plan) commit(w *world) {
	for _, change := range p.changes {
		change(w)
	}
}

// newVersion makes a version, with the chains of old that are still right.
func (r *Runtime) newVersion(l *running, cfg *config.Listener, old *version) (*version, *plan, error) {
	p := &plan{}
	chooser, err := listener.NewChooser(cfg.Chains)
	if err != nil {
		return nil, p, err
	}
	v := &version{config: cfg, chooser: chooser}
	claimed := map[*chain]bool{}
	for _, chainConfig := range cfg.Chains {
		c, err := r.chainFor(l, chainConfig, old, claimed, p)
		if err != nil {
			return nil, p, err
		}
		v.chains = append(v.chains, c)
	}
	if cfg.Default != nil {
		if v.last, err = r.chainFor(l, cfg.Default, old, claimed, p); err != nil {
			return nil, p, err
		}
	}
	return v, p, nil
}

func (r *Runtime) chainFor(l *running, cfg *config.FilterChain, old *version, claimed map[*chain]bool, p *plan) (*chain, error) {
	var c *chain
	if old != nil {
		for _, candidate := range old.all() {
			if !claimed[candidate] && candidate.serves(cfg) {
				c = candidate
				break
			}
		}
	}
	if c == nil {
		var err error
		if c, err = r.newChain(l, cfg); err != nil {
			return nil, fmt.Errorf("filter chain %q: %w", cfg.Name, err)
		}
		p.made = append(p.made, c)
	}
	claimed[c] = true
	if cfg.TLS != nil {
		certificates, err := r.world.presented(cfg.TLS)
		if err != nil {
			return nil, fmt.Errorf("filter chain %q: %w", cfg.Name, err)
		}
		var trust *certs.Trust
		if cfg.TLS.Clients != nil {
			if trust, err = r.world.trusted(&cfg.TLS.Clients.Trust); err != nil {
				return nil, fmt.Errorf("filter chain %q: %w", cfg.Name, err)
			}
		}
		p.changes = append(p.changes, func(w *world) { c.tls.Set(cfg.TLS, certificates, trust, w.ticketsOf(cfg.TLS, r.tickets)) })
	}
	p.changes = append(p.changes, func(w *world) { c.become(cfg, w) })
	return c, nil
}
