// Package negotiate knows what the connected proxies do not support, and what of a fleet's resources that concerns.
//
// In: the words of proxies about themselves (xds/features), as the xDS server observes them; snapshots. Out: who lacks what, where,
// and whether it is new. It must not know documents or files, nor what is done about it; it never blocks the xDS server.
//
// Proxies that say the same are a class. Most fleets have one that takes all that this build of the control plane sends: of
// such proxies nothing is kept, and no resource is looked into.
package negotiate

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/xds/features"
	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

const (
	// defaultKeepFor is how long a proxy that went counts: as long as status lists it. One that comes back as another
	// class, since it was updated, counts as that at once.
	defaultKeepFor = 15 * time.Minute
	// maxProxies bounds the proxies that lack something and are known, and maxClasses the words that are kept.
	maxProxies, maxClasses = 10_000, 256
	maxName                = 256
)

// Options for New.
type Options struct {
	// Next is told everything that the Room is told as an observer.
	Next server.Observer
	// Own is what a Go proxy of this build takes: whoever takes that too lacks nothing. Nil is nothing known: whoever says what
	// it takes is looked at.
	Own features.Table
	// KeepFor is how long a proxy that went counts. 0 is 15 minutes.
	KeepFor time.Duration
	// Kept is what Keep of an earlier process said.
	Kept []json.RawMessage
	// Logger gets words that cannot be read. Nil: nothing is logged.
	Logger *slog.Logger
}

// Room implements server.Observer. Safe for concurrent use.
type Room struct {
	server.Observer // read-only after New: Next
	opts            Options
	changed         chan struct{}

	// Guarded by mu.
	mu      sync.Mutex
	classes map[string]*Class
	proxies map[key]*proxy
	streams map[server.StreamID]key // of proxies
	seq     uint64

	// Guarded by looking.
	looking sync.Mutex
	seen    map[view]map[*snapshot.Resource][]features.Lack
}

type key struct{ fleet, id string }

// proxy is one that may lack something.
type proxy struct {
	class  *Class
	stream server.StreamID // the latest
	gone   time.Time       // zero while it is connected
}

// Class is proxies that say the same of themselves.
type Class struct {
	// Agent is what they call themselves, "sluice-proxy 0.3.1".
	Agent string
	word  string
	taken *features.Taken // nil lacks nothing
}

// New makes a Room that has seen nobody, but knows who was there before.
func New(opts Options) *Room {
	opts.KeepFor = cmp.Or(opts.KeepFor, defaultKeepFor)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Room{
		Observer: opts.Next, opts: opts, changed: make(chan struct{}, 1), classes: map[string]*Class{}, proxies: map[key]*proxy{},
		streams: map[server.StreamID]key{}, seen: map[view]map[*snapshot.Resource][]features.Lack{},
	}
	r.remember(opts.Kept)
	return r
}

// Changed has a value after proxies that lack something came or went.
func (r *Room) Changed() <-chan struct{} { return r.changed }

// Seq is another number after each such change; 0 is that there was none.
func (r *Room) Seq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq
}

// Node is part of server.Observer.
func (r *Room) Node(id server.StreamID, n server.Node) {
	r.Observer.Node(id, n)
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key{clip(n.Cluster), clip(n.ID)}
	class, old := r.classOf(n), r.proxies[k]
	if class.taken == nil {
		if old != nil { // it was updated
			r.forget(k)
		}
		return
	}
	if old == nil && len(r.proxies) >= maxProxies && !r.forgetOne() {
		return
	}
	if old != nil && r.streams[old.stream] == k {
		delete(r.streams, old.stream)
	}
	r.proxies[k], r.streams[id] = &proxy{class: class, stream: id}, k
	if old == nil || old.class != class {
		r.ring()
	}
}

// StreamClosed is part of server.Observer.
func (r *Room) StreamClosed(id server.StreamID) {
	r.Observer.StreamClosed(id)
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.streams[id]
	if !ok {
		return
	}
	delete(r.streams, id)
	r.leave(k, r.proxies[k])
}

// classOf needs mu.
func (r *Room) classOf(n server.Node) *Class {
	agent := clip(strings.TrimSpace(n.Agent + " " + n.Version))
	name := agent + "\n" + n.Features
	if c := r.classes[name]; c != nil {
		return c
	}
	c := &Class{Agent: agent, word: n.Features}
	taken, err := features.Parse(n.Features)
	switch {
	case err != nil:
		r.opts.Logger.Warn("a proxy says in no known way what it supports: it gets everything", "fleet", n.Cluster, "proxy", n.ID, "error", err)
	case n.Features != "" && (r.opts.Own == nil || !taken.Covers(r.opts.Own)):
		c.taken = taken
	}
	if len(r.classes) >= maxClasses {
		clear(r.classes) // strangers; whoever is known keeps its own
	}
	r.classes[name] = c
	return c
}

// forget needs mu.
func (r *Room) forget(k key) {
	if stream := r.proxies[k].stream; r.streams[stream] == k { // one that was remembered has none
		delete(r.streams, stream)
	}
	delete(r.proxies, k)
	r.ring()
}

// forgetOne drops a proxy that went. It needs mu.
func (r *Room) forgetOne() bool {
	for k, p := range r.proxies {
		if !p.gone.IsZero() {
			r.forget(k)
			return true
		}
	}
	return false
}

// ring needs mu.
func (r *Room) ring() {
	r.seq++
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Fleets are those with proxies that may lack something, sorted.
func (r *Room) Fleets() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	fleets := map[string]bool{}
	for k := range r.proxies {
		fleets[k.fleet] = true
	}
	return slices.Sorted(maps.Keys(fleets))
}

// members are the proxies of a fleet by class, ids sorted. The classes are in the order of their agents.
func (r *Room) members(fleet string) (classes []*Class, proxies map[*Class][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	proxies = map[*Class][]string{}
	for k, p := range r.proxies {
		if k.fleet == fleet {
			proxies[p.class] = append(proxies[p.class], k.id)
		}
	}
	for c, ids := range proxies {
		slices.Sort(ids)
		classes = append(classes, c)
	}
	slices.SortFunc(classes, func(a, b *Class) int {
		return cmp.Or(strings.Compare(a.Agent, b.Agent), strings.Compare(proxies[a][0], proxies[b][0]))
	})
	return classes, proxies
}

func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxName)], "\uFFFD")
}
