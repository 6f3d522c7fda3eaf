// Package quarantine finds the documents that proxies refuse, and says which of them to hold back.
//
// In: what was published, and what proxies say of it. Out: versions of documents that are not to be served, be it for as
// long as it takes to find out which of several it is, or until their text changes. It must not know files, xDS resources
// or how anything is sent; it never blocks the xDS server.
//
// A proxy says that something in a response is bad, and not reliably what. In doubt is all that differs from what the fleet
// has accepted before. Of these a part is published and the rest held back, and so on by halves: of n documents one is
// found in log2(n) publications, and each of them is another version, so nothing is sent twice. What is found is held back
// alone, and everything else is published. Then it is heard once more, alone: what is refused twice stays held back.
package quarantine

import (
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/server"
)

const (
	// patience is how long a publication waits for proxies before it goes on without them.
	patience = 2 * time.Second
	// absent: a proxy that says nothing for so long does not keep others from settling what is good, and what a fleet
	// runs for so long is not withdrawn because of another fleet.
	absent = 10 * time.Second
	// maxText is how much of a proxy's words is kept, in bytes.
	maxText = 1 << 10
)

// Publication is what is served, and to whom.
type Publication struct {
	// Seq is that of the holds that it was made with.
	Seq uint64
	// Documents are those that are served, sorted by kind and name.
	Documents []*definition.Document
	// Held are the holds that the files are up against.
	Held map[definition.Ref]bool
	// Fleets are all that there are.
	Fleets map[string]Fleet
	// Nothing is what the proxies of any other fleet have.
	Nothing map[string]Type
}

// Fleet is a fleet's part of a publication.
type Fleet struct {
	// Types are the resources by type URL. Nil: the fleet keeps what it has, and what it says is not about the documents.
	Types map[string]Type
	// Made is what they were made of.
	Made *ir.Fleet
}

// Type is all resources of a type: how many there are, and their version.
type Type struct {
	Version   string
	Resources int
}

// Options for New.
type Options struct {
	// Next is told everything that the Room is told as an observer.
	Next server.Observer
	// Accepted are the documents that are accepted at the start, and Kept is what Keep said before.
	Accepted map[definition.Ref]*definition.Document
	Kept     []store.Quarantined
	// Logger is for what is found. Nil: nothing is logged.
	Logger *slog.Logger
}

// Room implements server.Observer. Safe for concurrent use.
type Room struct {
	server.Observer // read-only after New: Next
	log             *slog.Logger
	changed, news   chan struct{}

	// Guarded by mu.
	mu        sync.Mutex
	streams   map[server.StreamID]*stream
	published *Publication // nil before the first
	at        time.Time    // of a publication that is another than the one before, or made for a question
	seq       uint64       // of the holds
	fleets    map[string]*fleet
	loaded    map[string][]*definition.Document // proven, by fleet, of an earlier process; nil: nothing is
	accepted  []*definition.Document            // by an earlier process
	verdicts  map[definition.Ref]*conviction
	acquitted map[version]int // how often
	search    *search
	timer     *time.Timer
	closed    bool
	pushes    int       // publications that a search asked for
	due       time.Time // when the next may be
	owed      bool      // and one waits for it
	stirred   bool      // a step is due
}

// version is one version of a document; Hash is "" for its deletion.
type version struct {
	Ref  definition.Ref
	Hash string
}

// fleet is what is known of a fleet.
type fleet struct {
	// proven is the last publication that its proxies have accepted, at when; before is one that is older than absent.
	proven, before []*definition.Document
	at             time.Time
	// quiet is until when nothing is searched, since the last search came to nothing; fails is how often that was so.
	quiet time.Time
	fails int
	// told is the refusal of which it was said that nothing can be done, and futile the publication of which it is so.
	told   string
	futile *Publication
	// crowd is how many documents may be heard together; 0 is any number.
	crowd int
	// budget is how many publications may be asked for at once, as of counted.
	budget  int
	counted time.Time
}

// conviction is a document that is held back.
type conviction struct {
	version
	instead *definition.Document // nil: there is no good version
	refusal
	since time.Time
	// heard: it was refused once more since. next is when it may be heard at the earliest, and hearings how often it was.
	heard    bool
	next     time.Time
	hearings int
	// among is how many were held back with it, since it could not be told which of them it is: itself, at least.
	among int
	// told: it is said, since it was heard, or is not heard so soon.
	told bool
}

// New makes a Room. Close it.
func New(opts Options) *Room {
	r := &Room{
		Observer: opts.Next, log: opts.Logger, changed: make(chan struct{}, 1), news: make(chan struct{}, 1), streams: map[server.StreamID]*stream{},
		fleets: map[string]*fleet{}, loaded: map[string][]*definition.Document{}, verdicts: map[definition.Ref]*conviction{},
		acquitted: map[version]int{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.timer = time.AfterFunc(time.Hour, r.tick)
	r.load(opts.Accepted, opts.Kept)
	return r
}

// Close ends the timer.
func (r *Room) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.timer.Stop()
}

// Changed has a value when the holds are others: ask Holds, build, and tell Published.
func (r *Room) Changed() <-chan struct{} { return r.changed }

// News has a value when Keep says something else, though the holds are the same.
func (r *Room) News() <-chan struct{} { return r.news }

// Holds are the versions to hold back, and their number, for Publication.Seq.
func (r *Room) Holds() (map[definition.Ref]store.Held, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[definition.Ref]store.Held{}
	for ref, c := range r.verdicts {
		if !r.search.hears(c) {
			h := store.Held{Hash: c.Hash, Instead: c.instead}
			if c.told { // else it is about to be heard
				h.Why = c.why()
			}
			out[ref] = h
		}
	}
	if r.search != nil {
		r.search.holds(out)
	}
	return out, r.seq
}

// Count is how many documents are held back, but for those that are only in doubt.
func (r *Room) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.verdicts)
}

// Published tells what is about to be served. It comes before the proxies can get it, and also if nothing changed.
func (r *Room) Published(p Publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked(&p)
	if r.published == nil || r.published.Seq != p.Seq || !sameVersions(r.published.Fleets, p.Fleets) {
		r.at = time.Now()
		for _, s := range r.streams {
			if r.published != nil && r.published.Fleets[s.fleet].Types != nil {
				says, _ := s.judge(r.published.Fleets[s.fleet].Types)
				s.sound = says == accepted
			}
		}
	}
	r.published = &p
	for name := range p.Fleets {
		if r.fleets[name] == nil {
			r.fleets[name] = r.first(name)
		}
	}
	for name := range r.fleets {
		if _, there := p.Fleets[name]; !there {
			delete(r.fleets, name)
			r.loaded[name] = nil // whoever is there later has accepted nothing
		}
	}
	if p.Seq == r.seq {
		for ref, c := range r.verdicts {
			if !p.Held[ref] && !r.search.hears(c) {
				delete(r.verdicts, ref)
				r.log.Info("a document that was held back is another now, or gone", "document", ref.String())
			}
		}
	}
	r.step()
}

// asked adds the fleets that are no more since all of their Gateways are held back: their proxies are to be asked all the same.
func (r *Room) asked(p *Publication) {
	p.Fleets = maps.Clone(p.Fleets)
	add := func(name string) {
		if _, there := p.Fleets[name]; !there {
			p.Fleets[name] = Fleet{Types: p.Nothing}
		}
	}
	for _, c := range r.verdicts {
		add(c.Fleet)
	}
	if r.search != nil {
		add(r.search.fleet)
	}
}

func sameVersions(a, b map[string]Fleet) bool {
	if len(a) != len(b) {
		return false
	}
	for name, f := range a {
		for url, t := range f.Types {
			if b[name].Types[url] != t {
				return false
			}
		}
	}
	return true
}

// first is what is known of a fleet that has not been published before. A fleet of another process has what is known of it;
// one that began here has accepted nothing.
func (r *Room) first(name string) *fleet {
	proven, known := r.loaded[name]
	if !known {
		proven = r.accepted
	}
	return &fleet{proven: proven, before: proven}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *Room) tick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.step()
}

// earlier is the earlier of two times, of which the zero time is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
