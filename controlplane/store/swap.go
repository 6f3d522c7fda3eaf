package store

import (
	"fmt"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// keepSwapped keeps what publishes a name when what is to take its place is in trouble: hosts move from a Service's short
// form to the Route of its name, or back, in two documents, and a fault in the one must not let the other go.
func (b *build) keepSwapped(out *compile.Output) bool {
	troubled := map[definition.Ref]definition.Position{}
	note := func(p definition.Problem) {
		if _, known := troubled[p.Ref]; !known && p.Severity == definition.SeverityError {
			troubled[p.Ref] = p.Position
		}
	}
	for _, p := range b.set.Problems {
		note(p)
	}
	for _, p := range b.problems {
		if b.reverted[p.Ref] {
			note(p.Problem)
		}
	}
	for _, p := range out.Problems {
		note(p)
	}
	kept := false
	for _, ref := range sortedRefs(troubled) {
		kept = b.keepOther(out, ref, troubled[ref]) || kept
	}
	return kept
}

// keepOther keeps the other document of a name, a Service or a Route, if it published the name and nothing else does now.
func (b *build) keepOther(out *compile.Output, ref definition.Ref, at definition.Position) bool {
	other := definition.Ref{Kind: map[string]string{"Service": "Route", "Route": "Service"}[ref.Kind], Name: ref.Name}
	good, own := b.store.accepted[other], b.store.accepted[ref]
	if !publishes(good) || publishes(b.chosen.of(other)) || publishes(b.chosen.of(ref)) && b.chosen.of(ref) == own {
		return false
	}
	if publishes(b.chosen.of(ref)) { // it is what is in trouble, and would be in the way
		for _, p := range out.Problems {
			if p.Ref == ref && p.Severity == definition.SeverityError {
				b.problems = append(b.problems, Problem{p, ServingNothing})
			}
		}
		b.chosen.drop(ref)
		b.held[ref] = at
		if own != nil {
			b.chosen.set(own)
			b.reverted[ref] = true
		}
	}
	for i := range b.problems {
		if b.problems[i].Ref == ref && b.problems[i].Serving == ServingNothing {
			b.problems[i].Serving = ServingLastGood
		}
	}
	where, field, what := good.Position, "", "deleted"
	if fresh := b.fresh(other); fresh != nil {
		where, field, what = fresh.Position, "hosts", "got no hosts"
	}
	b.chosen.set(good)
	b.reverted[other] = true
	b.problems = append(b.problems, Problem{definition.Problem{
		Position: where, Code: definition.CodeDuplicateName, Severity: definition.SeverityError, Ref: other, Field: field,
		Message: fmt.Sprintf("%s, but %s, which is to publish the name from now on, is held back: see %s", what, ref, at),
	}, ServingLastGood})
	return true
}

// publishes says whether requests come to a document by itself: to a Route, or to a Service with hosts.
func publishes(d *definition.Document) bool {
	if d == nil {
		return false
	}
	s, service := d.Message.(*sluicev1.Service)
	return d.Ref.Kind == "Route" || service && len(s.GetHosts()) > 0
}
