package store

import (
	"bytes"
	"encoding/json"
	"maps"
)

// answerRecord is what name servers last said of a name, in the words of whoever asked.
type answerRecord struct {
	Name   string          `json:"name"`
	Answer json.RawMessage `json:"answer"`
}

// Answers are what KeepAnswers was told last, by an earlier process too.
func (s *Store) Answers() map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.answers)
}

// KeepAnswers says what name servers answered, as JSON by name, for the next Save: after a restart the proxies get the same
// endpoints, though no name server may answer then.
func (s *Store) KeepAnswers(answers map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !maps.EqualFunc(s.answers, answers, bytes.Equal) {
		s.answers, s.dirtyAnswers = maps.Clone(answers), true
	}
}

func (s *Store) takeAnswer(line []byte) error {
	var r answerRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return err
	}
	s.answers[r.Name] = r.Answer
	return nil
}
