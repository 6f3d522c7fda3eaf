package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
)

const abilitiesFile = "abilities.jsonl"

// Abilities are the lines that KeepAbilities was told last, by an earlier process.
func (s *Store) Abilities() []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" || s.abilities != nil {
		return slices.Clone(s.abilities)
	}
	err := s.readRecords(abilitiesFile, func(line []byte) error {
		if !json.Valid(line) {
			return fmt.Errorf("got %.40q, want JSON", line)
		}
		s.abilities = append(s.abilities, bytes.Clone(line))
		return nil
	})
	if err != nil {
		s.log.Error("what proxies support is not remembered", "error", err)
	}
	return slices.Clone(s.abilities)
}

// KeepAbilities keeps what is known of proxies that lack something, each line JSON, at once: it must be there when the documents
// are that were held back because of it.
func (s *Store) KeepAbilities(lines []json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := slices.EqualFunc(s.abilities, lines, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
	if s.dir == "" || same {
		return nil
	}
	var records []any
	for _, line := range lines {
		records = append(records, line)
	}
	if err := writeRecords(filepath.Join(s.dir, abilitiesFile), records); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.abilities = slices.Clone(lines)
	return nil
}
