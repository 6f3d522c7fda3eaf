package store

import (
	"fmt"
	"slices"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// choose takes every document as it stands, and last good versions of those that cannot be read.
func (b *build) choose() {
	accepted := b.store.accepted
	before := b.store.named
	unique, twice := b.unique()
	again := b.store.settled != nil && sameNames(before, unique)
	for _, p := range twice {
		b.problems = append(b.problems, Problem{p, ServingNothing})
	}
	troubled := b.troubled()
	b.files = make([]*definition.Document, 0, len(unique))
	for i, d := range unique {
		if _, test := d.Message.(*sluicev1.Test); test {
			continue
		}
		if again && before[i].Position.File == d.Position.File {
			b.files = append(b.files, d) // in the place of that which is the last good version
			continue
		}
		if good := accepted[d.Ref]; good != nil && good.Position.File != d.Position.File && good.Hash != d.Hash && troubled(good) {
			b.problems = append(b.problems, Problem{compile.DuplicateName(d, good), ServingNothing})
			continue
		}
		b.files = append(b.files, d)
	}
	b.chosen.files = b.files
	b.hold()
	inFile := map[string]bool{} // files some of whose documents are kept as they were
	if len(b.set.Unknown) > 0 {
		for ref, good := range accepted {
			if b.chosen.of(ref) == nil && !b.inForce[ref] && b.unknown(good.Position.File) {
				b.chosen.set(good)
				inFile[good.Position.File] = true
			}
		}
	}
	for _, p := range b.set.Problems {
		serving := ""
		switch {
		case p.Severity != definition.SeverityError:
		case p.Ref.Name == "":
			serving = ServingNothing
			for file := range inFile {
				if b.paths.below(file, p.File) {
					serving = ServingLastGood
				}
			}
		case b.fresh(p.Ref) != nil: // another document of the name is good
			serving = ServingNothing
		case accepted[p.Ref] != nil:
			b.chosen.set(accepted[p.Ref])
			serving = ServingLastGood
		default:
			b.held[p.Ref], serving = p.Position, ServingNothing
		}
		b.problems = append(b.problems, Problem{p, serving})
	}
	if len(b.set.Documents) == 0 {
		b.vanished()
	}
}

// unique is compile.Unique, for a set that most often has the names of the last one in their places.
func (b *build) unique() ([]*definition.Document, []definition.Problem) {
	s, all := b.store, b.set.Documents
	if sameNames(s.named, all) {
		s.named = all
		return all, nil
	}
	unique, twice := compile.Unique(all, s.accepted)
	if s.named = all; len(twice) > 0 {
		s.named = nil
	}
	return unique, twice
}

// vanished keeps everything when nothing is left: a folder that is unmounted, moved or half-way through a checkout must
// not stop a running fleet. Who really wants to serve nothing leaves one document, or starts with an empty state folder.
func (b *build) vanished() {
	kept := 0
	for ref, good := range b.store.accepted {
		if b.chosen.of(ref) == nil {
			b.chosen.set(good)
			kept++
		}
	}
	if kept == 0 {
		return
	}
	b.problems = append(b.problems, Problem{definition.Problem{
		Code: definition.CodeMissingFile, Severity: definition.SeverityError,
		Message: fmt.Sprintf("all documents are gone at once, which is taken for an accident: the last %d go on being served; to serve nothing, leave one document (a Service that nothing uses will do) or restart with an empty state folder", kept),
	}, ServingLastGood})
}

// troubled says whether a document that is served cannot be read in its file now. A typo there does not hand its name to
// another document, which may have been waiting for it.
func (b *build) troubled() func(good *definition.Document) bool {
	type place struct {
		file string
		ref  definition.Ref
	}
	faulty := map[place]bool{}
	for _, p := range b.set.Problems {
		if p.Severity == definition.SeverityError {
			faulty[place{p.File, p.Ref}] = true
		}
	}
	return func(good *definition.Document) bool {
		return faulty[place{good.Position.File, good.Ref}] || b.unknown(good.Position.File)
	}
}

// unknown says whether what stands in a file is not known for sure.
func (b *build) unknown(file string) bool {
	return slices.ContainsFunc(b.set.Unknown, func(place string) bool { return b.paths.below(file, place) })
}
