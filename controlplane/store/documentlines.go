package store

import (
	"maps"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// savedLine is a document's line in the state, and what it was made of.
type savedLine struct {
	document *definition.Document
	part     bool
	text     string
}

// documentLines are those of the accepted documents; of what did not change since the last time the line is still there.
func (s *Store) documentLines() ([]string, error) {
	known := paths{}
	if s.saved == nil {
		s.saved = make(map[definition.Ref]savedLine, len(s.accepted))
	}
	lines := make([]string, 0, len(s.accepted))
	for _, d := range s.acceptedInOrder() {
		ref, line := d.Ref, s.saved[d.Ref]
		if line.document != d || line.part != s.partial[ref] {
			text, err := closedLine(documentRecord{
				Kind: ref.Kind, Name: ref.Name, File: known.absolute(d.Position.File), Line: d.Position.Line, Text: string(d.Text), Part: s.partial[ref],
			})
			if err != nil {
				return nil, err
			}
			line = savedLine{d, s.partial[ref], text}
			s.saved[ref] = line
		}
		lines = append(lines, line.text)
	}
	if len(s.saved) > len(s.accepted) {
		maps.DeleteFunc(s.saved, func(ref definition.Ref, _ savedLine) bool { return s.accepted[ref] == nil })
	}
	return lines, nil
}

// acceptedInOrder are the accepted documents. Most are those of the last build, whose order they have.
func (s *Store) acceptedInOrder() []*definition.Document {
	all := make([]*definition.Document, 0, len(s.accepted))
	for _, d := range s.sorted {
		if good := s.accepted[d.Ref]; good != nil {
			all = append(all, good)
		}
	}
	if len(all) == len(s.accepted) {
		return all
	}
	all = all[:0]
	for _, ref := range sortedRefs(s.accepted) {
		all = append(all, s.accepted[ref])
	}
	return all
}
