package revision

import (
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// refused keeps out of the revisions what proxies refuse. To find such a document the quarantine has several served, withdrawn
// and served again within seconds; told as revisions, an undo of the newest would bring back the very one that was refused.
//
// While a document is only in doubt (its hold has no Why), what is known of it stays, and accepted is made to say so. One that
// is found to be bad never was: the change by which it came is taken out of its revision, and a revision of nothing else is
// dropped. It needs mu.
func (h *History) refused(accepted map[definition.Ref]*definition.Document, held map[definition.Ref]store.Held) {
	for ref, hold := range held {
		known := h.known[ref]
		switch {
		case hold.Why == "" && known == nil:
			delete(accepted, ref)
		case hold.Why == "":
			accepted[ref] = known
		case hash(known) == hold.Hash && hash(accepted[ref]) != hold.Hash && h.withdraw(ref, accepted[ref]):
			if h.known[ref] = accepted[ref]; accepted[ref] == nil {
				delete(h.known, ref)
			}
		}
	}
}

// withdraw has the newest revision that changed a document say that another version was served instead, or that nothing
// changed. It is false if no revision did. It needs mu.
func (h *History) withdraw(ref definition.Ref, instead *definition.Document) bool {
	about := func(c Change) bool { return c.Ref() == ref }
	for i, r := range slices.Backward(h.revisions) {
		at := slices.IndexFunc(r.Changes, about)
		if at < 0 {
			continue
		}
		changes := slices.Clone(r.Changes)
		if c := &changes[at]; hashOf(c.Before) == hash(instead) {
			changes = slices.Delete(changes, at, at+1)
		} else if c.After = version(instead); c.After != nil {
			c.After.Text = ""
		}
		r.Changes, r.line = changes, nil
		// The oldest is what the others go back to, and an undo was asked for.
		if len(changes) == 0 && i > 0 && r.Cause != CauseUndo && r.Cause != CauseLift {
			h.revisions = slices.Delete(slices.Clone(h.revisions), i, i+1)
		}
		h.changes++
		h.dirty = true
		return true
	}
	return false
}
