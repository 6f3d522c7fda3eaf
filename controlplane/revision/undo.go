package revision

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// absent is in pin.Held where no document of the name stands in the files.
const absent = ""

// pin is a document that an undo holds back.
type pin struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Held are the hashes of the versions that are held back: as soon as another stands in the files, the pin is gone.
	Held []string `json:"held"`
	// Serve is what is served instead; nil is nothing.
	Serve *Version `json:"serve,omitempty"`
	// Revision is the one that the version is of, Since when it was undone.
	Revision uint64    `json:"revision"`
	Since    time.Time `json:"since"`

	document *definition.Document // Serve, parsed
}

func (p *pin) ref() definition.Ref { return definition.Ref{Kind: p.Kind, Name: p.Name} }

// Apply puts what was undone in the place of what stands in the files. Pins whose document has changed there are gone.
func (h *History) Apply(set store.Set) store.Set {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.set, h.applied = set, h.asked
	out, over := apply(h.pins, set)
	for _, p := range over {
		h.opts.Logger.Info("an undo ends for a document, which has changed in the files", "document", p.ref().String(), "revision", p.Revision)
	}
	h.dirty = h.dirty || len(over) > 0
	h.pins = slices.DeleteFunc(slices.Clone(h.pins), func(p *pin) bool { return slices.Contains(over, p) })
	return out
}

// Preview is Apply for other files; nothing changes.
func (h *History) Preview(set store.Set) store.Set {
	h.mu.Lock()
	defer h.mu.Unlock()
	out, _ := apply(h.pins, set)
	return out
}

// apply returns a set in which the pins hold, and those that are over.
func apply(pins []*pin, set store.Set) (out store.Set, over []*pin) {
	if len(pins) == 0 || len(set.Documents) == 0 {
		return set, nil // an empty folder is taken for an accident, and must be seen as one
	}
	here := map[definition.Ref][]*definition.Document{}
	for _, d := range set.Documents {
		here[d.Ref] = append(here[d.Ref], d)
	}
	troubled := map[definition.Ref]bool{}
	for _, p := range set.Problems {
		troubled[p.Ref] = troubled[p.Ref] || p.Severity == definition.SeverityError
	}
	out = set
	out.Documents, out.Problems = nil, slices.Clone(set.Problems)
	held := map[definition.Ref]bool{}
	for _, p := range pins {
		documents, ref := here[p.ref()], p.ref()
		other := func(d *definition.Document) bool { return !slices.Contains(p.Held, d.Hash) }
		switch {
		case slices.ContainsFunc(documents, other),
			len(documents) == 0 && !slices.Contains(p.Held, absent) && !troubled[ref] && len(set.Unknown) == 0:
			over = append(over, p)
			continue
		}
		held[ref] = true
		if p.document != nil {
			out.Documents = append(out.Documents, p.document)
		}
		out.Problems = append(out.Problems, p.problem(documents))
	}
	for _, d := range set.Documents {
		if !held[d.Ref] {
			out.Documents = append(out.Documents, d)
		}
	}
	return out, over
}

// problem says that a pin holds.
func (p *pin) problem(here []*definition.Document) definition.Problem {
	out := definition.Problem{Code: definition.CodeUndone, Severity: definition.SeverityWarning, Ref: p.ref()}
	since := p.Since.UTC().Format("2006-01-02 15:04:05 MST")
	const until = "until it changes in the files, or 'sluice undo --lift'"
	switch {
	case len(here) > 0:
		out.Position = here[0].Position
	case p.document != nil:
		out.Position = p.document.Position
	}
	switch {
	case p.document == nil:
		out.Message = fmt.Sprintf("undone at %s: it is not served, as in revision %d, %s", since, p.Revision, until)
	case len(here) == 0 && slices.Contains(p.Held, absent):
		out.Message = fmt.Sprintf("its deletion was undone at %s: the version of revision %d is served, %s", since, p.Revision, until)
	default:
		out.Message = fmt.Sprintf("undone at %s: the version of revision %d is served, %s", since, p.Revision, until)
	}
	return out
}

// Undone is what an undo comes to.
type Undone struct {
	// To is the revision that is brought back; 0 where an undo is lifted.
	To uint64
	// Set is what will be served.
	Set     store.Set
	pins    []*pin
	changes uint64 // History.changes when it was looked at
}

// Prospect says what Undo would come to. to is a revision; 0 is the one before what is served. Errors have a gRPC status.
func (h *History) Prospect(to uint64) (*Undone, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.prospect(to)
}

func (h *History) prospect(to uint64) (*Undone, error) {
	to, err := h.target(to)
	if err != nil {
		return nil, err
	}
	before := map[definition.Ref]*Version{} // as it was in the revision
	for i := len(h.revisions) - 1; i >= 0 && h.revisions[i].Number > to; i-- {
		for _, c := range h.revisions[i].Changes {
			before[c.Ref()] = c.Before
		}
	}
	here := map[definition.Ref][]string{}
	for _, d := range h.set.Documents {
		here[d.Ref] = append(here[d.Ref], d.Hash)
	}
	out := &Undone{To: to, pins: slices.Clone(h.pins), changes: h.changes}
	changes := false
	for ref, v := range before {
		if hashOf(v) == hash(h.known[ref]) {
			continue // and if a pin makes it so, it holds on
		}
		changes = true
		out.pins = slices.DeleteFunc(out.pins, func(p *pin) bool { return p.ref() == ref })
		held := here[ref]
		if len(held) == 1 && held[0] == hashOf(v) || len(held) == 0 && v == nil {
			continue // the files say so
		}
		if len(held) == 0 && !h.unsure(ref) {
			held = []string{absent}
		}
		if d := h.known[ref]; d != nil { // which may stand there no more, or not yet again
			held = append(slices.Clone(held), d.Hash)
		}
		p := &pin{
			Kind: ref.Kind, Name: ref.Name, Held: slices.Compact(slices.Sorted(slices.Values(held))), Serve: v, Revision: to,
			Since: h.opts.Now().UTC().Truncate(time.Second),
		}
		if err := p.parse(); err != nil {
			return nil, grpcstatus.Errorf(codes.FailedPrecondition, "revision %d: its version of %s cannot be read: %v", to, ref, err)
		}
		out.pins = append(out.pins, p)
	}
	if !changes {
		return nil, grpcstatus.Errorf(codes.FailedPrecondition, "revision %d has the documents that are served now", to)
	}
	sortPins(out.pins)
	out.Set, _ = apply(out.pins, h.set)
	return out, nil
}

// unsure: what stands in the files of a document cannot be read now.
func (h *History) unsure(ref definition.Ref) bool {
	return len(h.set.Unknown) > 0 || slices.ContainsFunc(h.set.Problems, func(p definition.Problem) bool {
		return p.Ref == ref && p.Severity == definition.SeverityError
	})
}

// target is the revision to bring back.
func (h *History) target(to uint64) (uint64, error) {
	if len(h.revisions) == 0 {
		return 0, grpcstatus.Error(codes.FailedPrecondition, "there is no revision yet")
	}
	oldest, newest := h.revisions[0], h.revisions[len(h.revisions)-1]
	if to == 0 {
		for _, r := range h.revisions {
			if r.Number < newest.like() {
				to = r.Number
			}
		}
		if to == 0 {
			return 0, grpcstatus.Errorf(codes.FailedPrecondition, "revision %d is the oldest that is known: there is nothing to go back to", oldest.Number)
		}
		return to, nil
	}
	if !slices.ContainsFunc(h.revisions, func(r *Revision) bool { return r.Number == to }) {
		return 0, grpcstatus.Errorf(codes.NotFound, "got revision %d, want one from %d to %d", to, oldest.Number, newest.Number)
	}
	return to, nil
}

func hash(d *definition.Document) string {
	if d == nil {
		return absent
	}
	return d.Hash
}

func hashOf(v *Version) string {
	if v == nil {
		return absent
	}
	return v.Hash
}

// LiftProspect says what Lift would come to.
func (h *History) LiftProspect() (*Undone, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.pins) == 0 {
		return nil, grpcstatus.Error(codes.FailedPrecondition, "nothing is undone now")
	}
	return &Undone{Set: h.set, changes: h.changes}, nil
}

// Do has served what Prospect or LiftProspect has told, and returns the revision that it made when that is done and kept; nil
// is that nothing else is served by it, since what stands in the way is held back. by is who asks. If something else is served
// by now than was looked at it is refused: that would be undone unseen.
func (h *History) Do(ctx context.Context, u *Undone, by string) (*Revision, error) {
	why := &asked{cause: CauseUndo, by: by, like: u.To}
	if u.To == 0 {
		why.cause = CauseLift
	}
	h.mu.Lock()
	if h.changes != u.changes {
		defer h.mu.Unlock()
		return nil, grpcstatus.Errorf(codes.Aborted, "what is served has changed meanwhile: look at 'sluice history', and ask again")
	}
	h.opts.Logger.Warn(why.cause, "to", u.To, "by", by, "held back", len(u.pins))
	h.pins, h.cause, h.dirty = u.pins, why, true
	h.asked++
	mine, last := h.asked, h.last
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default: // there is a value already
	}
	for {
		h.mu.Lock()
		saved, news := h.saved, h.news
		newest := h.revisions[len(h.revisions)-1]
		h.mu.Unlock()
		if saved >= mine {
			if newest.Number <= last {
				newest = nil
			}
			return newest, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, grpcstatus.FromContextError(ctx.Err()).Err()
		}
	}
}
