// Package revision remembers what was served, and takes changes back.
//
// In: the documents that are served, after each build; what stands in the files, before it. Out: the last revisions (when,
// what changed, from where), and the set of documents with those taken back that somebody has undone. The files are people's
// own, and are never written: an undo holds back each document that it changes, in the version that stands in the files
// now, and has the earlier one served in its place, until the document is changed in the files, or the undo is lifted. Every
// other document goes on following the files. It must not know how a document becomes what is served.
package revision

import (
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

const (
	// keep is how many revisions are remembered.
	keep = 20
	// maxTexts is how many bytes of documents they hold together: older ones than fit are forgotten.
	maxTexts = 16 << 20
	// maxOldest is how many changes of the oldest one are told: the first is all that there was, and is written with each edit.
	maxOldest = 100
)

// Causes of a revision.
const (
	CauseStart = "start" // what was changed while the control plane was away, or all there is at its first start
	CauseFiles = "files"
	CauseUndo  = "undo"
	CauseLift  = "lift"
)

// Version is a version of a document.
type Version struct {
	File string `json:"file"` // absolute
	Line int    `json:"line"`
	Text string `json:"text"`
	Hash string `json:"hash"` // definition.Document.Hash
}

// Change is what a revision did to a document. Before and After are nil where there was, or is, none. The text of After is
// left out: it is that of the next Before, or of what is served now.
type Change struct {
	Kind   string   `json:"kind"`
	Name   string   `json:"name"`
	Before *Version `json:"before,omitempty"`
	After  *Version `json:"after,omitempty"`
}

// Ref names the document.
func (c *Change) Ref() definition.Ref { return definition.Ref{Kind: c.Kind, Name: c.Name} }

// Revision is a set of documents that was served, told by what changed.
type Revision struct {
	// Number counts from 1, and is never given twice.
	Number uint64    `json:"number"`
	Time   time.Time `json:"time"`
	Cause  string    `json:"cause"`
	// By is who asked for an undo.
	By string `json:"by,omitempty"`
	// Like is the earlier revision that an undo brought back; 0 is none.
	Like    uint64   `json:"like,omitempty"`
	Changes []Change `json:"changes"`
	// More is how many changes are not told: of the oldest revision, which nothing goes back beyond.
	More int `json:"more,omitempty"`

	line json.RawMessage // as it is kept, if that is known
}

// like is the revision whose documents it has.
func (r *Revision) like() uint64 {
	if r.Like > 0 {
		return r.Like
	}
	return r.Number
}

// size is how many bytes of texts it holds.
func (r *Revision) size() (n int) {
	for i := range r.Changes {
		if b := r.Changes[i].Before; b != nil {
			n += len(b.Text)
		}
	}
	return n
}

// Options for New.
type Options struct {
	// Store keeps the revisions, and says what is served.
	Store *store.Store
	// Now is the clock. Nil is time.Now.
	Now func() time.Time
	// Logger hears of undos that end by themselves. Nil: nothing is logged.
	Logger *slog.Logger
}

// History is safe for concurrent use.
type History struct {
	// Read-only.
	opts    Options
	changed chan struct{}

	// Guarded by mu.
	mu        sync.Mutex
	revisions []*Revision // the oldest first
	last      uint64      // the last number given
	changes   uint64      // how often what the revisions say has changed
	pins      []*pin      // sorted by document
	known     map[definition.Ref]*definition.Document
	set       store.Set // what stood in the files last
	started   bool
	dirty     bool // Keep has something new to tell
	// cause is of the next revision: what was asked for, and not yet served.
	cause *asked
	// asked counts calls of Do; applied, recorded and saved are what it was at the last Apply, Record and Saved.
	asked, applied, recorded, saved uint64
	news                            chan struct{} // closed by the next Saved
}

// asked is why the next revision will be.
type asked struct {
	cause, by string
	like      uint64
}

// New takes up what the store has kept.
func New(opts Options) *History {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h := &History{opts: opts, changed: make(chan struct{}, 1), news: make(chan struct{}), known: opts.Store.Accepted()}
	h.load(opts.Store.Revisions())
	return h
}

// Changed has a value when Apply would say something else of the same files.
func (h *History) Changed() <-chan struct{} { return h.changed }

// Record takes what is served now: if it is something else than before, that is a revision. What proxies refuse is not: see
// refused.
func (h *History) Record() {
	accepted, held := h.opts.Store.Accepted(), h.opts.Store.HeldBack()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refused(accepted, held)
	first := !h.started && len(h.revisions) == 0 && len(h.known) == 0
	changes := compare(h.known, accepted)
	h.known = accepted
	if len(changes) > 0 {
		r := &Revision{Number: h.last + 1, Time: h.opts.Now().UTC().Truncate(time.Second), Cause: CauseFiles, Changes: changes}
		switch {
		case h.cause != nil:
			r.Cause, r.By, r.Like = h.cause.cause, h.cause.by, h.cause.like
		case !h.started:
			r.Cause = CauseStart
		}
		h.last = r.Number
		h.changes++
		h.revisions = append(h.revisions, r)
		h.trim()
		h.dirty = true
	}
	h.started = h.started || !first || len(changes) > 0
	if h.recorded = h.applied; h.recorded == h.asked {
		h.cause = nil
	}
}

// Saved says that what Record took has been kept: who asked for an undo is answered now, and not before, so that it is not
// forgotten by a process that dies right after.
func (h *History) Saved() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saved = h.recorded
	close(h.news)
	h.news = make(chan struct{})
}

// compare says what changed, by document.
func compare(old, now map[definition.Ref]*definition.Document) []Change {
	var changes []Change
	for ref, d := range now {
		was := old[ref]
		if was == d || was != nil && was.Hash == d.Hash {
			continue
		}
		after := version(d)
		after.Text = ""
		changes = append(changes, Change{Kind: ref.Kind, Name: ref.Name, Before: version(was), After: after})
	}
	for ref, d := range old {
		if now[ref] == nil {
			changes = append(changes, Change{Kind: ref.Kind, Name: ref.Name, Before: version(d)})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return definition.CompareRefs(a.Ref(), b.Ref()) })
	return changes
}

func version(d *definition.Document) *Version {
	if d == nil {
		return nil
	}
	return &Version{File: store.AbsoluteFile(d.Position.File), Line: d.Position.Line, Text: string(d.Text), Hash: d.Hash}
}

// trim forgets the oldest revisions beyond the bounds. Of the newest the texts may go: then nothing before it comes back.
func (h *History) trim() {
	size, from := 0, len(h.revisions)
	for from > 0 && len(h.revisions)-from < keep {
		r := h.revisions[from-1]
		if size += r.size(); size > maxTexts && from < len(h.revisions) {
			break
		}
		from--
	}
	h.revisions = slices.Clone(h.revisions[from:])
	// Whatever was before the oldest is not known, so neither are its earlier texts wanted.
	oldest := h.revisions[0]
	if more := len(oldest.Changes) - maxOldest; more > 0 {
		oldest.Changes, oldest.More, oldest.line = slices.Clone(oldest.Changes[:maxOldest]), oldest.More+more, nil
	}
	for i := range oldest.Changes {
		if b := oldest.Changes[i].Before; b != nil && b.Text != "" {
			without := *b
			without.Text = ""
			oldest.Changes[i].Before, oldest.line = &without, nil
		}
	}
}
