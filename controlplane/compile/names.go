package compile

import (
	"cmp"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// Unique keeps one document of each name, sorted by name, and reports the others: the one being served wins, be it
// edited since or moved; on a cold start, the first by path.
func Unique(documents []*definition.Document, served map[definition.Ref]*definition.Document) ([]*definition.Document, []definition.Problem) {
	sorted := slices.Clone(documents)
	slices.SortFunc(sorted, func(a, b *definition.Document) int {
		return cmp.Or(compareRefs(a.Ref, b.Ref), cmp.Compare(claim(a, served[a.Ref]), claim(b, served[b.Ref])),
			comparePositions(a.Position, b.Position), cmp.Compare(a.Hash, b.Hash))
	})
	var problems []definition.Problem
	unique := sorted[:0]
	for _, d := range sorted {
		if n := len(unique); n > 0 && unique[n-1].Ref == d.Ref {
			problems = append(problems, DuplicateName(d, unique[n-1]))
			continue
		}
		unique = append(unique, d)
	}
	return unique, problems
}

// DuplicateName is the problem of a document whose name another one has.
func DuplicateName(d, winner *definition.Document) definition.Problem {
	return definition.Problem{
		Position: d.At("name"), Code: definition.CodeDuplicateName, Severity: definition.SeverityError, Ref: d.Ref, Field: "name",
		Message: "got " + d.Ref.Name + ", want a name that no other " + d.Ref.Kind + " has: " + winner.Position.String() + " has it already",
	}
}

// claim ranks documents of one name by how much they are the one that is being served: 0 is most.
func claim(d, served *definition.Document) int {
	switch {
	case served == nil:
		return 0
	case d.Position.File == served.Position.File && d.Hash == served.Hash:
		return 0
	case d.Position.File == served.Position.File:
		return 1
	case d.Hash == served.Hash:
		return 2
	}
	return 3
}
