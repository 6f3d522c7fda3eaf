// Package live makes running objects of a configuration, and of the next one: what did not change goes on untouched, what
// did is swapped, what is gone drains.
//
// In: complete config.Config values, one after another. Out: sockets that are served. It must not know where a
// configuration comes from. It is the only room that builds running objects, so it joins all rooms of the request walk.
//
// What a change costs: a route table or a cluster swaps a pointer, and closes no connection; a certificate changes new
// handshakes alone; a filter chain that changed drains its own connections (HTTP/1.1 "Connection: close", HTTP/2
// GOAWAY), and those of no other; a listener keeps its socket as long as its address stays.
package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// Options are a Runtime's.
type Options struct {
	// DrainTime is how long connections of what is gone may go on before they are cut; 0 is 10 minutes, Envoy's default.
	DrainTime time.Duration
	// MaxConnections bounds downstream connections in all; 0 is what the process's descriptors allow.
	MaxConnections int
	// MaxConnectionsPerClient bounds those of one client's address (IPv6: its /64); 0 is no bound.
	MaxConnectionsPerClient int
	// MinBodyRate is how many bytes a second a request's body must bring, once it has had slowGrace; 0 is any.
	MinBodyRate int
	// Pressure tells of memory; nil is never any.
	Pressure Pressure
	// Inherited are sockets that are there already; nil is none.
	Inherited *listener.Inherited
	// Logger hears what no caller can be told; nil is slog's default.
	Logger *slog.Logger
}

// Pressure is the want of memory. Any goroutine may ask.
type Pressure interface {
	listener.Pressure
	// Refusing: requests are answered 503.
	Refusing() bool
	// Memory is what is in use and what may be, in bytes.
	Memory() (used, most int64)
}

// boundTime is how long a socket that Bind opened waits for an Apply that uses it: longer than a configuration takes to
// warm (15 s).
const boundTime = 30 * time.Second

// Runtime is what runs. Any goroutine may call it.
type Runtime struct {
	options Options
	limit   *listener.Limit
	clients *listener.Clients
	tickets *certs.Tickets
	logs    logs
	conns   registry
	waiting waiting
	// clusters is what TCP connections begin with.
	clusters atomic.Pointer[map[string]*upstream.Client]
	// connections are the goroutines of all connections.
	connections sync.WaitGroup
	// idleGrace is how long a draining HTTP/1 connection may go on waiting for a request: one that is in use has its next
	// answer, with "Connection: close", before that.
	idleGrace time.Duration
	// parkAfter is parkAfter, but for tests.
	parkAfter time.Duration
	// slowGrace is slowGrace, but for tests.
	slowGrace time.Duration
	// apologies are under way to refused connections.
	apologies atomic.Int64

	// mu serializes Bind, Apply and Drain, and guards all below.
	mu        sync.Mutex
	bound     map[socketKey]*boundSocket
	listeners map[string]*running
	world     world
	watchers  watchers
	draining  bool
}

// socketKey tells sockets apart: of port 0 there may be many at one place.
type socketKey struct {
	place listener.Place
	name  string
}

func keyOf(l *config.Listener) socketKey {
	key := socketKey{place: listener.PlaceOf(l)}
	// Permissions can be changed in place.
	key.place.Mode = 0
	if l.Path == "" && l.Address.Port() == 0 {
		key.name = l.Name
	}
	return key
}

type boundSocket struct {
	socket *listener.Socket
	since  time.Time
}

// New makes a Runtime that runs nothing yet.
func New(options Options) *Runtime {
	if options.DrainTime <= 0 {
		options.DrainTime = 10 * time.Minute
	}
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	r := &Runtime{
		options:   options,
		limit:     listener.NewLimit(min(options.MaxConnections, listener.MostConnections())),
		clients:   listener.NewClients(options.MaxConnectionsPerClient),
		parkAfter: parkAfter,
		slowGrace: slowGrace,
		tickets:   certs.NewTickets(),
		idleGrace: time.Second,
		bound:     map[socketKey]*boundSocket{},
		listeners: map[string]*running{},
		world:     newWorld(),
	}
	r.clusters.Store(&map[string]*upstream.Client{})
	return r
}

var errDraining = errors.New("live: draining")

// Bind opens the socket of a listener that is to come, and keeps it for Apply, so that an address that cannot be bound is
// known before. Clients may connect from then on; they wait. A socket that no Apply uses is closed by a later one.
func (r *Runtime) Bind(l *config.Listener) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return errDraining
	}
	key := keyOf(l)
	if r.bound[key] != nil {
		return nil
	}
	for _, owner := range r.listeners {
		if owner.socket != nil && owner.socket.key == key {
			// Its own socket, or one that it inherits if the owner goes; else Apply says so.
			return nil
		}
	}
	socket, err := r.options.Inherited.Bind(listener.PlaceOf(l))
	if err != nil {
		return fmt.Errorf("live: listener %q: %w", l.Name, err)
	}
	r.bound[key] = &boundSocket{socket: socket, since: time.Now()}
	return nil
}

// Apply runs a configuration in place of the last. It does what it can: errors are joined, name their listener or
// certificate, and leave that one as it was.
func (r *Runtime) Apply(c *config.Config) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return errDraining
	}
	var problems []error
	next, dropped, err := r.world.next(c)
	problems = append(problems, err)
	r.watch(&next)
	r.world = next
	r.clusters.Store(&next.clusters)

	// Those that keep their socket go first: who is new may then have what others gave up.
	names := slices.SortedFunc(maps.Keys(c.Listeners), func(a, b string) int {
		return compareBool(r.keepsSocket(c.Listeners[b]), r.keepsSocket(c.Listeners[a]), a, b)
	})
	leaving := r.leaving(c)
	for _, name := range names {
		if err := r.applyListener(c.Listeners[name], leaving); err != nil {
			problems = append(problems, fmt.Errorf("live: listener %q: %w", name, err))
		}
	}
	// A socket that closes hands out what waits in its queue, so it closes before its chains retire.
	for _, socket := range leaving {
		if !socket.taken {
			socket.close()
		}
		socket.taken = false
	}
	for name, l := range r.listeners {
		// A listener that could not move, and whose socket another has taken, is gone too.
		if c.Listeners[name] == nil || l.socket.owner.Load() != l {
			delete(r.listeners, name)
			l.version.Load().retire(nil)
		} else {
			// The version stays if its listener could not be changed; what it routes to does not.
			l.version.Load().swapStates(&r.world)
		}
	}
	for key, b := range r.bound {
		if time.Since(b.since) > boundTime {
			delete(r.bound, key)
			b.socket.Close()
		}
	}
	for _, client := range dropped {
		client.Close()
	}
	return errors.Join(problems...)
}

func compareBool(a, b bool, x, y string) int {
	switch {
	case a && !b:
		return 1
	case b && !a:
		return -1
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (r *Runtime) keepsSocket(l *config.Listener) bool {
	old := r.listeners[l.Name]
	return old != nil && old.socket != nil && old.socket.key == keyOf(l)
}

// leaving are the sockets whose listener is gone, or moves to another address: by key, for who comes to that place.
func (r *Runtime) leaving(c *config.Config) map[socketKey]*served {
	gone := map[socketKey]*served{}
	for name, l := range r.listeners {
		if next := c.Listeners[name]; l.socket != nil && (next == nil || keyOf(next) != l.socket.key) {
			gone[l.socket.key] = l.socket
		}
	}
	return gone
}

// Drain stops accepting, and tells connections to end after what is in flight. It returns when all have ended, or soon
// after ctx has, having cut the rest. Nothing runs after it.
func (r *Runtime) Drain(ctx context.Context) {
	r.mu.Lock()
	r.draining = true
	all := slices.Collect(maps.Values(r.listeners))
	for key, b := range r.bound {
		delete(r.bound, key)
		b.socket.Close()
	}
	for _, l := range all {
		l.socket.close()
		l.version.Load().retire(nil)
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watchers.unwatch()
	}()

	ended := make(chan struct{})
	go func() {
		r.connections.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		r.conns.cutAll()
		select {
		case <-ended:
		case <-time.After(cutTime):
			r.options.Logger.Error("connections did not end after they were closed", "connections", r.limit.Active())
			return
		}
	}
	r.waiting.close()
	for _, client := range *r.clusters.Load() {
		client.Close()
	}
}

// cutTime is how long a connection that was closed may take to notice.
const cutTime = 5 * time.Second
