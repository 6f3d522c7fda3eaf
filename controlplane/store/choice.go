package store

import (
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// choice is the documents to compile, one of each name: those of the files, until another one is chosen. In most builds none
// is, and then nobody looks for one by its name.
type choice struct {
	files []*definition.Document
	byRef map[definition.Ref]*definition.Document // nil: nobody asked yet
	other bool                                    // it is not files any more
}

func (c *choice) all() map[definition.Ref]*definition.Document {
	if c.byRef == nil {
		c.byRef = byRef(c.files)
	}
	return c.byRef
}

func byRef(documents []*definition.Document) map[definition.Ref]*definition.Document {
	out := make(map[definition.Ref]*definition.Document, len(documents))
	for _, d := range documents {
		out[d.Ref] = d
	}
	return out
}

// of is what was chosen of a name; nil is nothing.
func (c *choice) of(ref definition.Ref) *definition.Document { return c.all()[ref] }

func (c *choice) set(d *definition.Document) {
	c.all()[d.Ref] = d
	c.other = true
}

func (c *choice) drop(ref definition.Ref) {
	delete(c.all(), ref)
	c.other = true
}

// sameNames: the documents have one another's names, each in its place.
func sameNames(a, b []*definition.Document) bool {
	return slices.EqualFunc(a, b, func(x, y *definition.Document) bool { return x == y || x.Ref == y.Ref })
}

// sorting sorts documents by name, most often as it did the last time.
type sorting struct {
	files []*definition.Document
	at    []int32 // where in files the sorted ones stand
}

func (s *sorting) sort(files []*definition.Document) []*definition.Document {
	if !sameNames(s.files, files) {
		s.at = s.at[:0]
		for i := range files {
			s.at = append(s.at, int32(i))
		}
		slices.SortFunc(s.at, func(i, j int32) int { return definition.CompareRefs(files[i].Ref, files[j].Ref) })
	}
	s.files = files
	out := make([]*definition.Document, 0, len(files))
	for _, i := range s.at {
		out = append(out, files[i])
	}
	return out
}
