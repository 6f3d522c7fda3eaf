package store

import (
	"cmp"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// Held is a version of a document that proxies refuse, or may refuse. While it is what the files say, Instead is served.
type Held struct {
	// Hash is the version's.
	Hash string
	// Instead is the last good version; nil is none: nothing is served.
	Instead *definition.Document
	// Why is the text of the problem, and Code its code; "" tells of none.
	Why, Code string
}

// hold takes the versions that are held back out of those to compile. They are not the last good ones either.
func (b *build) hold() {
	s := b.store
	for _, ref := range sortedRefs(b.set.Held) {
		h, fresh := b.set.Held[ref], b.fresh[ref]
		if fresh == nil || fresh.Hash != h.Hash {
			continue
		}
		if old := s.accepted[ref]; old != nil && old.Hash == h.Hash {
			s.dirty = true
			delete(s.accepted, ref)
			delete(s.partial, ref)
		}
		serving := ServingNothing
		if h.Instead != nil {
			b.chosen[ref], b.reverted[ref], serving = h.Instead, true, ServingLastGood
			if s.accepted[ref] == nil {
				s.accepted[ref], s.dirty = h.Instead, true
			}
		} else {
			delete(b.chosen, ref)
			b.held[ref] = fresh.Position
		}
		if h.Why != "" {
			b.problems = append(b.problems, Problem{definition.Problem{
				Position: fresh.Position, Code: cmp.Or(h.Code, definition.CodeUnsupported), Severity: definition.SeverityError, Ref: ref, Message: h.Why,
			}, serving})
		}
	}
}
