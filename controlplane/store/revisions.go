package store

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// revisionsFile holds what KeepRevisions was told, a line each.
const revisionsFile = "revisions.jsonl"

// Revisions are what KeepRevisions was told last, by an earlier process too, in no order.
func (s *Store) Revisions() []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.revisions)
}

// KeepRevisions is for the next Save: records of what was served, in the words of whoever tells them.
func (s *Store) KeepRevisions(records []json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.EqualFunc(s.revisions, records, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
		s.revisions, s.dirtyRevisions = slices.Clone(records), true
	}
}

func (s *Store) takeRevision(line []byte) error {
	s.revisions = append(s.revisions, slices.Clone(line))
	return nil
}

// Restore parses a document again that was written in a file (an absolute name) at a line.
func Restore(ref definition.Ref, file string, line int, text string) (*definition.Document, error) {
	return documentRecord{documentName: documentName{ref.Kind, ref.Name}, File: shortest(file), Line: line, Text: text}.document()
}

// AbsoluteFile is the name of a file for Restore, in a process that may be started elsewhere; ShortFile is that name as a
// person would write it here.
func AbsoluteFile(file string) string { return absolute(file) }

// ShortFile is AbsoluteFile's inverse.
func ShortFile(file string) string { return shortest(file) }
