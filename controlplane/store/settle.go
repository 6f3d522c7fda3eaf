package store

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// settle compiles until nothing is left to mend. Each step takes fresh versions away or adds documents that are
// kept, and what is kept is let go of only after a step of the first kind, so it ends. Causes go before effects: a Route whose Service is bad is well once the Service is mended.
func (b *build) settle() *compile.Output {
	for {
		b.compiled = b.documents()
		out := compile.Compile(compile.Input{
			Documents: b.compiled, Certificates: b.certificates, Served: b.store.accepted, Sockets: b.store.sockets, HeldBack: b.held, Now: b.now,
			Memory: &b.store.memory,
		})
		if b.keepNeeded(out) {
			continue
		}
		if b.revert(out, false) || b.revert(out, true) || b.revertCulprits(out) || b.keepSwapped(out) {
			b.recheck = true
			continue
		}
		if !b.letGo() {
			return out
		}
	}
}

// letGo tries without the deleted documents that were kept, if what needed them may have been taken back since: keepNeeded
// brings back those that are still needed.
func (b *build) letGo() bool {
	if !b.recheck || len(b.kept) == 0 {
		return false
	}
	b.recheck = false
	for ref := range b.kept {
		b.chosen.drop(ref)
	}
	clear(b.kept)
	return true
}

// documents are those that are chosen, sorted.
func (b *build) documents() []*definition.Document {
	if !b.chosen.other {
		return b.store.sorting.sort(b.chosen.files)
	}
	all := b.chosen.all()
	// Most stood there in the last build, in this order.
	documents := make([]*definition.Document, 0, len(all))
	for _, was := range b.store.sorted {
		if d := all[was.Ref]; d != nil {
			documents = append(documents, d)
		}
	}
	if len(documents) < len(all) {
		documents = slices.SortedFunc(maps.Values(all), func(x, y *definition.Document) int { return definition.CompareRefs(x.Ref, y.Ref) })
		b.store.sorted = documents
	}
	return documents
}

// keepNeeded brings back documents that were deleted while others still refer to them.
func (b *build) keepNeeded(out *compile.Output) bool {
	kept := false
	for _, ref := range sortedRefs(out.Missing) {
		by, good := out.Missing[ref], b.store.accepted[ref]
		if good == nil || b.chosen.of(ref) != nil {
			continue
		}
		b.chosen.set(good)
		kept = true
		b.kept[ref] = Problem{definition.Problem{
			Position: good.Position, Code: unknownCode(ref.Kind), Severity: definition.SeverityError, Ref: ref,
			Message: fmt.Sprintf("deleted, but %s still uses it: still served", names(by)),
		}, ServingLastGood}
	}
	return kept
}

func sortedRefs[V any](m map[definition.Ref]V) []definition.Ref {
	return slices.SortedFunc(maps.Keys(m), definition.CompareRefs)
}

func names(refs []definition.Ref) string {
	const most = 3
	var list []string
	for _, r := range refs[:min(most, len(refs))] {
		list = append(list, r.String())
	}
	if more := len(refs) - most; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}

func unknownCode(kind string) string {
	switch kind {
	case "Gateway":
		return definition.CodeUnknownGateway
	case "Certificate":
		return definition.CodeUnknownCertificate
	case "TrustBundle":
		return definition.CodeUnknownTrustBundle
	}
	return definition.CodeUnknownService
}

// dangling says whether a problem is but the effect of something that is not there.
func dangling(code string) bool {
	switch code {
	case definition.CodeUnknownService, definition.CodeUnknownGateway, definition.CodeUnknownListener, definition.CodeUnknownCertificate, definition.CodeUnknownTrustBundle:
		return true
	}
	return false
}

// revert chooses the last good version of documents with errors: first of those that are bad by themselves, then, if
// there are none, of those that refer to what is not there.
func (b *build) revert(out *compile.Output, effects bool) bool {
	if !slices.ContainsFunc(out.Problems, func(p definition.Problem) bool { return p.Severity == definition.SeverityError }) {
		return false
	}
	bad, served := map[definition.Ref]bool{}, inPart(out)
	for _, p := range out.Problems {
		// What is good only in part gives way to anything that is served at all: else a Gateway with a lasting fault
		// could never be edited.
		if p.Severity == definition.SeverityError && dangling(p.Code) == effects && b.revertible(p.Ref) &&
			!(b.store.partial[p.Ref] && served[p.Ref]) {
			bad[p.Ref] = true
		}
	}
	for _, p := range out.Problems {
		if bad[p.Ref] && p.Severity == definition.SeverityError {
			b.problems = append(b.problems, Problem{p, ServingLastGood})
		}
	}
	for ref := range bad {
		b.chosen.set(b.store.accepted[ref])
		b.reverted[ref] = true
	}
	return len(bad) > 0
}

// revertible: a fresh version was chosen, and there is an older one that says something else.
func (b *build) revertible(ref definition.Ref) bool {
	fresh, good := b.chosen.of(ref), b.store.accepted[ref]
	return fresh != nil && fresh == b.fresh(ref) && good != nil && good.Hash != fresh.Hash && !b.reverted[ref]
}

// revertCulprits holds back an edit of a Gateway that takes away a listener which a served Route names: what is running
// is never withdrawn because of a newcomer.
func (b *build) revertCulprits(out *compile.Output) bool {
	culprits := map[definition.Ref]bool{}
	for _, missing := range sortedRefs(out.Missing) {
		by := out.Missing[missing]
		gateway, _, _ := strings.Cut(missing.Name, "/")
		ref := definition.Ref{Kind: "Gateway", Name: gateway}
		served := slices.IndexFunc(by, func(r definition.Ref) bool { return b.store.accepted[r] != nil })
		if missing.Kind != "Listener" || culprits[ref] || served < 0 || !b.revertible(ref) {
			continue
		}
		culprits[ref] = true
		b.problems = append(b.problems, Problem{definition.Problem{
			Position: b.fresh(ref).At("listeners"), Code: definition.CodeUnknownListener, Severity: definition.SeverityError, Ref: ref, Field: "listeners",
			Message: fmt.Sprintf("got no listener %s that a Route can join, but %s still joins it", missing.Name, by[served]),
		}, ServingLastGood})
	}
	for _, p := range out.Problems {
		if culprits[p.Ref] && p.Severity == definition.SeverityError { // may be why
			b.problems = append(b.problems, Problem{p, ServingLastGood})
		}
	}
	for ref := range culprits {
		b.chosen.set(b.store.accepted[ref])
		b.reverted[ref] = true
	}
	return len(culprits) > 0
}
