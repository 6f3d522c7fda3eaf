package compile

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// Unique keeps one document of each name, in no order, and reports the others: the one being served wins, be it edited since
// or moved; on a cold start, the first by path.
func Unique(documents []*definition.Document, served map[definition.Ref]*definition.Document) ([]*definition.Document, []definition.Problem) {
	distinct := true // as the store has them, who sorts them
	for i := 1; i < len(documents) && distinct; i++ {
		distinct = definition.CompareRefs(documents[i-1].Ref, documents[i].Ref) < 0
	}
	if distinct {
		return documents, nil
	}
	at := make(map[definition.Ref]int, len(documents))
	unique := make([]*definition.Document, 0, len(documents))
	contested := map[definition.Ref][]*definition.Document{}
	for _, d := range documents {
		i, twice := at[d.Ref]
		if !twice {
			at[d.Ref] = len(unique)
			unique = append(unique, d)
			continue
		}
		if contested[d.Ref] == nil {
			contested[d.Ref] = append(contested[d.Ref], unique[i])
		}
		contested[d.Ref] = append(contested[d.Ref], d)
	}
	var problems []definition.Problem
	for _, ref := range slices.SortedFunc(maps.Keys(contested), definition.CompareRefs) {
		all := contested[ref]
		slices.SortFunc(all, func(a, b *definition.Document) int {
			return cmp.Or(cmp.Compare(claim(a, served[ref]), claim(b, served[ref])), comparePositions(a.Position, b.Position), cmp.Compare(a.Hash, b.Hash))
		})
		unique[at[ref]] = all[0]
		for _, d := range all[1:] {
			problems = append(problems, DuplicateName(d, all[0]))
		}
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
