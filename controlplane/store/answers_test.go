package store

import (
	"bytes"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnswers: what name servers said outlives a restart, line by line.
func TestAnswers(t *testing.T) {
	dir, log := t.TempDir(), &bytes.Buffer{}
	path := filepath.Join(dir, answersFile)
	reopen := func(want string) *Store {
		t.Helper()
		s, err := Open(Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, name := range []string{"a", "b"} {
			if answer, ok := s.Answers()[name]; ok {
				got += name + string(answer)
			}
		}
		if got != want || len(s.Answers()) > 2 {
			t.Errorf("got %s of %v, want %s", got, s.Answers(), want)
		}
		return s
	}
	save := func(s *Store, answers map[string][]byte) {
		t.Helper()
		s.KeepAnswers(answers)
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
	}
	answers := map[string][]byte{"a": []byte("[1]"), "b": []byte("[2]")}
	save(reopen(""), answers)
	save(reopen("a[1]b[2]"), maps.Clone(answers))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want a file that is the control plane's alone", info.Mode(), err)
	}
	// The same again writes nothing: it would be at every answer.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	s.KeepAnswers(answers)
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	save(s, maps.Clone(answers))
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("got the file written again, %v", err)
	}
	text, _ := os.ReadFile(path)
	if err := os.WriteFile(path, bytes.Replace(text, []byte("[2]"), []byte("[3]"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	save(reopen("a[1]"), map[string][]byte{"b": []byte("[4]")})
	if !strings.Contains(log.String(), answersFile) {
		t.Errorf("got no word of the damage: %s", log)
	}
	_ = reopen("b[4]").Close()
}
