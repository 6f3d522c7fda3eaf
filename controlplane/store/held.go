package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// Held is a version of a document that proxies refuse, or may refuse. While it is what the files say, Instead is served.
type Held struct {
	// Hash is the version's; "" is that there is none: the deletion.
	Hash string
	// Instead is the last good version; nil is none: nothing is served.
	Instead *definition.Document
	// Why is the text of the problem; "" tells of none. Code is its code; "" is CodeRefused.
	Why, Code string
}

// hold takes the versions that are held back out of those to compile. They are not the last good ones either.
func (b *build) hold() {
	s := b.store
	b.inForce = map[definition.Ref]bool{}
	for _, ref := range sortedRefs(b.set.Held) {
		h, fresh := b.set.Held[ref], b.fresh(ref)
		at := definition.Position{}
		switch {
		case h.Hash == "" && fresh == nil && h.Instead != nil:
			at = h.Instead.Position
		case h.Hash != "" && fresh != nil && fresh.Hash == h.Hash:
			at = fresh.Position
		default:
			continue
		}
		b.inForce[ref], s.settled = true, nil
		if old := s.accepted[ref]; old != nil && (old.Hash == h.Hash || h.Instead == nil) {
			s.change(ref)
			delete(s.accepted, ref)
			delete(s.partial, ref)
		}
		serving := ServingNothing
		if h.Instead != nil {
			s.spelled = false // its file may be named otherwise
			b.chosen.set(h.Instead)
			b.reverted[ref], serving = true, ServingLastGood
			if s.accepted[ref] == nil {
				s.accepted[ref] = h.Instead
				s.change(ref)
			}
		} else {
			b.chosen.drop(ref)
			b.held[ref] = at
		}
		if h.Why != "" {
			b.problems = append(b.problems, Problem{definition.Problem{
				Position: at, Code: cmp.Or(h.Code, definition.CodeRefused), Severity: definition.SeverityError, Ref: ref, Message: h.Why,
			}, serving})
		}
	}
}

// HeldBack are the versions that the files wanted to have served at the last Update, and that were held back.
func (s *Store) HeldBack() map[definition.Ref]Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.inForce)
}

const quarantineFile = "quarantine.jsonl"

// Quarantined is a line of what the quarantine knows, for whoever keeps it: a document, if it is of one, and the rest as JSON.
type Quarantined struct {
	Document *definition.Document
	About    json.RawMessage
}

type quarantinedRecord struct {
	Document *documentRecord `json:"document,omitempty"`
	About    json.RawMessage `json:"about"`
}

// Quarantine is what KeepQuarantine was told last, by an earlier process too.
func (s *Store) Quarantine() []Quarantined {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.quarantine)
}

// KeepQuarantine says what to keep, for the next Save.
func (s *Store) KeepQuarantine(lines []Quarantined) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := slices.EqualFunc(s.quarantine, lines, func(a, b Quarantined) bool { return a.Document == b.Document && bytes.Equal(a.About, b.About) })
	if !same {
		s.quarantine, s.dirtyQuarantine = slices.Clone(lines), true
	}
}

// saveQuarantine needs mu.
func (s *Store) saveQuarantine() error {
	if !s.dirtyQuarantine {
		return nil
	}
	known := paths{}
	var records []any
	for _, q := range s.quarantine {
		r := quarantinedRecord{About: q.About}
		if d := q.Document; d != nil {
			record := recordOf(d, known)
			r.Document = &record
		}
		records = append(records, r)
	}
	if err := writeRecords(filepath.Join(s.dir, quarantineFile), records); err != nil {
		return err
	}
	s.dirtyQuarantine = false
	return nil
}

func (s *Store) takeQuarantined(line []byte) error {
	var r quarantinedRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	q := Quarantined{About: r.About}
	if r.Document != nil {
		r.Document.File = shortest(r.Document.File)
		d, err := r.Document.document()
		if err != nil {
			return err
		}
		q.Document = d
	}
	s.quarantine = append(s.quarantine, q)
	return nil
}
