package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// The file of documents is all of them, a line each, and then what changed since, a line for each Save: whoever edits one of
// many waits for the disk to take that one. A line has the whole of a Save, so that it is there in full or not at all.

// documentRecord is a document as it was written: it is parsed again when it is loaded.
type documentRecord struct {
	documentName
	File string `json:"file"` // absolute
	Line int    `json:"line"`
	Text string `json:"text"`
	// Part: it has a fault, and is served in part.
	Part bool `json:"part,omitempty"`
}

type documentName struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// changesRecord is what changed with a Save: documents that are others now, and those that are no more.
type changesRecord struct {
	Changed []documentRecord `json:"changed,omitempty"`
	Gone    []documentName   `json:"gone,omitempty"`
}

// documentLog is the file of documents, as far as it is this process's.
type documentLog struct {
	// changed are documents whose last good version is not what the file says. Of those that moved, it is but the place: they are
	// written with the next change.
	changed, moved map[definition.Ref]bool
	// whole and since are the sizes of both parts in bytes; whole is 0 if the file is another process's, or in doubt.
	whole, since int
}

// minSince is how many bytes of changes are not worth writing all anew.
const minSince = 64 << 10

// change notes that another version of a document was accepted, or none. It needs mu.
func (s *Store) change(ref definition.Ref) { s.note(&s.documents.changed, ref) }

// move notes that an accepted document stands elsewhere in its file. It needs mu.
func (s *Store) move(ref definition.Ref) { s.note(&s.documents.moved, ref) }

func (s *Store) note(refs *map[definition.Ref]bool, ref definition.Ref) {
	if s.dir == "" {
		return
	}
	if *refs == nil {
		*refs = map[definition.Ref]bool{}
	}
	(*refs)[ref] = true
}

// saveDocuments needs mu.
func (s *Store) saveDocuments() error {
	l := &s.documents
	if len(l.changed) == 0 {
		return nil
	}
	path := filepath.Join(s.dir, documentsFile)
	line, err := s.changesLine()
	if err != nil {
		return err
	}
	if l.whole > 0 && l.since+len(line) <= max(l.whole, minSince) && appendLine(path, line) == nil {
		l.since += len(line)
		l.changed, l.moved = nil, nil
		return nil
	}
	l.whole, l.since = 0, 0 // the end of the file may be half a line
	lines, size := make([]string, 0, len(s.accepted)), 0
	known := paths{}
	for _, ref := range sortedRefs(s.accepted) {
		line, err := closedLine(s.record(s.accepted[ref], known))
		if err != nil {
			return err
		}
		lines, size = append(lines, line), size+len(line)
	}
	if err := writeLines(path, 2, lines); err != nil {
		return err
	}
	l.whole = size
	l.changed, l.moved = nil, nil
	return nil
}

func (s *Store) changesLine() (string, error) {
	var r changesRecord
	known := paths{}
	maps.Copy(s.documents.changed, s.documents.moved)
	for _, ref := range sortedRefs(s.documents.changed) {
		if d := s.accepted[ref]; d != nil {
			r.Changed = append(r.Changed, s.record(d, known))
		} else {
			r.Gone = append(r.Gone, documentName{ref.Kind, ref.Name})
		}
	}
	return closedLine(r)
}

func (s *Store) record(d *definition.Document, known paths) documentRecord {
	r := recordOf(d, known)
	r.Part = s.partial[d.Ref]
	return r
}

func recordOf(d *definition.Document, known paths) documentRecord {
	return documentRecord{documentName: documentName{d.Ref.Kind, d.Ref.Name}, File: known.absolute(d.Position.File), Line: d.Position.Line, Text: string(d.Text)}
}

// appendLine adds to a file that is there.
func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Sync(), f.Close())
}

// takeDocuments takes a line of the file, of either part.
func (s *Store) takeDocuments(line []byte) error {
	var r struct {
		documentRecord
		changesRecord
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	if r.Kind != "" {
		return s.takeDocument(r.documentRecord)
	}
	var errs []error
	for _, one := range r.Changed {
		if err := s.takeDocument(one); err != nil {
			errs = append(errs, err)
			r.Gone = append(r.Gone, one.documentName) // the version before is not the last good one
		}
	}
	for _, name := range r.Gone {
		ref := definition.Ref{Kind: name.Kind, Name: name.Name}
		delete(s.accepted, ref)
		delete(s.partial, ref)
	}
	return errors.Join(errs...)
}

func (s *Store) takeDocument(r documentRecord) error {
	r.File = shortest(r.File)
	d, err := r.document()
	if err != nil {
		return err
	}
	s.accepted[d.Ref] = d
	delete(s.partial, d.Ref)
	if r.Part {
		s.partial[d.Ref] = true
	}
	return nil
}

// document parses a record again, with line numbers as they were.
func (r documentRecord) document() (*definition.Document, error) {
	d, err := r.parse(0)
	if err != nil {
		return nil, err
	}
	if shift := r.Line - d.Position.Line; shift > 0 && shift < 1<<24 {
		return r.parse(shift)
	}
	return d, nil
}

func (r documentRecord) parse(linesBefore int) (*definition.Document, error) {
	documents, problems := definition.ParseAfter(r.File, linesBefore, []byte(r.Text))
	if len(problems) > 0 {
		return nil, problems[0]
	}
	if len(documents) != 1 || documents[0].Ref != (definition.Ref{Kind: r.Kind, Name: r.Name}) {
		return nil, fmt.Errorf("got %d documents, want %s/%s", len(documents), r.Kind, r.Name)
	}
	return documents[0], nil
}
