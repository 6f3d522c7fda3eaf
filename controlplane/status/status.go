// Package status knows which proxy runs what, which refused what, in its own words, and since when.
//
// In: what the xDS server observes on its streams, and what was published. Out: a table of proxies, and a wait until all
// of a fleet have the newest; and for one proxy what it has of each resource, and the documents that this came from. It must
// not know what resources and documents hold, or how anything is sent; it never blocks the server.
package status

import (
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/provenance"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

// State is what a proxy has of one type, in the words of CSDS.
type State string

// The states.
const (
	// Synced: the newest was accepted.
	Synced State = "SYNCED"
	// NotSent: nothing was sent, since nothing was asked for.
	NotSent State = "NOT_SENT"
	// Stale: the newest was not accepted yet.
	Stale State = "STALE"
	// Error: the newest was refused, or something in it that was refused before and did not change since.
	Error State = "ERROR"
)

// Type is what a proxy has of one resource type.
type Type struct {
	// URL and Short name the type: Short is CDS, EDS, SDS, LDS, RDS or VHDS.
	URL, Short string
	State      State
	// Accepted and Sent are versions: the last accepted, and the last sent. Empty is none.
	Accepted, Sent string
	// Error is the proxy's own words, where State is Error.
	Error string
	// Since is when it came into this state.
	Since time.Time
	// About are resources that the refusal may be about, where State is Error: those that its text names, if it names any, and
	// three at most. More may be meant beside them.
	About []Ref
	More  int
	// Resources is how many the fleet has.
	Resources int
}

// Proxy is one proxy, by its xDS node.
type Proxy struct {
	ID, Fleet string
	// Agent is what it calls itself, such as "envoy 1.40.0".
	Agent string
	// Peer is its address.
	Peer      string
	Connected bool
	// Since is when it last connected or went.
	Since time.Time
	// Types in push order.
	Types []Type
}

// Published is what the newest snapshot of a fleet has of one type.
type Published struct {
	Version string
	// Resources is their number. Where it is 0 no proxy needs to ask for the type.
	Resources int

	at time.Time // when it was first published
}

// Options for New.
type Options struct {
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
	// Logger gets a line for each connection and each rejection. Nil: nothing is logged.
	Logger *slog.Logger
	// KeepFor is how long a proxy that went is listed. 0 is 15 minutes.
	KeepFor time.Duration
	// KeepMost is how many proxies that went are listed at most. 0 is 10,000.
	KeepMost int
}

const (
	defaultKeepFor  = 15 * time.Minute
	defaultKeepMost = 10_000
	// maxText is how much of a rejection's text is kept, and maxName of a node's names, in bytes.
	maxText = 4 << 10
	maxName = 256
)

// Tracker implements server.Observer. Safe for concurrent use.
type Tracker struct {
	opts Options // read-only after New
	// Read-only after Ask.
	streamed Streams
	origins  func(fleet, typeURL, name string) []provenance.Origin

	// Guarded by mu.
	mu      sync.Mutex
	streams map[server.StreamID]*stream
	proxies map[key]*proxy
	gone    int // proxies that are not connected
	newest  map[string]map[string]Published
	changed chan struct{} // closed at the next change
}

var _ server.Observer = (*Tracker)(nil)

type key struct{ fleet, id string }

type stream struct {
	agent, peer string
	proxy       *proxy // nil until the node is known
	since       time.Time
	types       map[string]*record
	suspects    []string // what the refusal that is told next may be about
}

// proxy's fields are guarded by Tracker.mu.
type proxy struct {
	key
	agent, peer string
	current     server.StreamID // the stream that counts: the latest that is open
	connected   bool
	since       time.Time
	types       map[string]*record // the current stream's
	open        map[server.StreamID]*stream
	// double: it was logged that two proxies have this id.
	double bool
}

// record is what a stream told of one type. Each stream begins anew: a version that was accepted on an earlier one is told
// again by the client, or not at all.
type record struct {
	sent, accepted string
	refused        string // the version that was refused last, until one is accepted
	text           string
	about          []string // names that this may be about
	more           int      // and how many beside them
	logged         string   // the rejection that was logged last; it outlives streams
	state          State
	since          time.Time
}

// New makes a Tracker.
func New(opts Options) *Tracker {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.KeepFor = cmp.Or(opts.KeepFor, defaultKeepFor)
	opts.KeepMost = cmp.Or(opts.KeepMost, defaultKeepMost)
	return &Tracker{
		opts: opts, streams: map[server.StreamID]*stream{}, proxies: map[key]*proxy{},
		newest: map[string]map[string]Published{}, changed: make(chan struct{}),
	}
}

// Publish tells what is the newest, by fleet and type URL. A fleet that is left out has nothing.
func (t *Tracker) Publish(fleets map[string]map[string]Published) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stamp(fleets)
	t.newest = fleets
	for _, p := range t.proxies {
		for url, r := range p.types {
			t.judge(p, url, r)
		}
	}
	t.forget()
	t.ring()
}

// ring wakes who waits. Callers hold mu.
func (t *Tracker) ring() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// judge works out the state of one type. Callers hold mu.
func (t *Tracker) judge(p *proxy, url string, r *record) {
	newest, known := t.newest[p.fleet][url]
	state := Stale
	switch {
	case r.refused != "" && (r.sent == r.refused || r.sent != newest.Version):
		state = Error // and nothing newer that would mend it is on its way
	case known && r.accepted == newest.Version, !known && r.accepted != "" && r.accepted == r.sent:
		state = Synced
	case r.sent == "" && r.accepted == "":
		state = NotSent
	}
	if state != r.state {
		r.state, r.since = state, t.opts.Now()
	}
}

// Proxies lists the proxies of a fleet, or of all if it is "", by fleet and id.
func (t *Tracker) Proxies(fleet string) []Proxy {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	return t.list(func(p *proxy) bool { return fleet == "" || p.fleet == fleet })
}

// list needs mu.
func (t *Tracker) list(want func(*proxy) bool) []Proxy {
	var out []Proxy
	for _, p := range t.proxies {
		if want(p) {
			out = append(out, t.view(p))
		}
	}
	slices.SortFunc(out, func(a, b Proxy) int { return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.ID, b.ID)) })
	return out
}

func (t *Tracker) view(p *proxy) Proxy {
	out := Proxy{ID: p.id, Fleet: p.fleet, Agent: p.agent, Peer: p.peer, Connected: p.connected, Since: p.since}
	for _, known := range resource.PushOrder {
		view := Type{URL: known.URL, Short: known.Short, State: NotSent, Since: p.since, Resources: t.count(p.fleet, known)}
		if r := p.types[known.URL]; r != nil {
			view.State, view.Accepted, view.Sent, view.Since = r.state, r.accepted, r.sent, r.since
			if r.state == Error {
				view.Error, view.More = r.text, r.more
				for _, name := range r.about {
					view.About = append(view.About, t.ref(p.fleet, known.URL, name))
				}
			}
		}
		out.Types = append(out.Types, view)
	}
	return out
}

// forget drops proxies that went long ago, and the longest gone of too many. Callers hold mu.
func (t *Tracker) forget() {
	if t.gone == 0 {
		return
	}
	before := t.opts.Now().Add(-t.opts.KeepFor)
	for k, p := range t.proxies {
		if !p.connected && p.since.Before(before) {
			delete(t.proxies, k)
			t.gone--
		}
	}
	if t.gone <= t.opts.KeepMost {
		return
	}
	var gone []*proxy
	for _, p := range t.proxies {
		if !p.connected {
			gone = append(gone, p)
		}
	}
	slices.SortFunc(gone, func(a, b *proxy) int { return a.since.Compare(b.since) })
	for _, p := range gone[:len(gone)-t.opts.KeepMost*9/10] { // some more, so that it is not done for each
		delete(t.proxies, p.key)
		t.gone--
	}
}
