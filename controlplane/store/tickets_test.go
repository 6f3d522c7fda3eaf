package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// keyNames reads a list of keys as letters, in the order in which they were first seen.
type keyNames map[string]string

func (n keyNames) of(s *Store, fleet string) string {
	var out []string
	for _, key := range s.TicketKeys([]string{fleet})[fleet] {
		if n[string(key)] == "" {
			n[string(key)] = fmt.Sprintf("%c", 'a'+len(n))
		}
		out = append(out, n[string(key)])
	}
	return strings.Join(out, "")
}

// TestTicketKeys: a key is known to decrypt for a day before it encrypts, and decrypts for two days after.
func TestTicketKeys(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	reopen := func() *Store {
		s, err := Open(Options{Dir: dir, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s, names := reopen(), keyNames{}
	for i, step := range []struct {
		wait    time.Duration
		restart bool
		want    string
	}{
		{0, false, "ab"},
		{24*time.Hour - time.Second, false, "ab"},
		{time.Second, false, "bca"},
		{time.Hour, true, "bca"},
		{23 * time.Hour, true, "cdba"},
		{24 * time.Hour, false, "decb"},
		// However long it was away, no proxy knows more than the second key.
		{1000 * time.Hour, true, "efdc"},
		{0, false, "efdc"},
		// The clock was wrong.
		{-23 * time.Hour, false, "efdc"},
		{-2 * time.Hour, false, "fged"},
	} {
		now = now.Add(step.wait)
		if step.restart {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = reopen()
		}
		if got := names.of(s, "edge"); got != step.want {
			t.Fatalf("step %d: got keys %s, want %s", i, got, step.want)
		}
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, ticketsFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v and error %v, want mode 600", info, err)
	}
	s.Close()
}

func TestTicketKeysOfFleets(t *testing.T) {
	s, _ := open(t, "")
	first := s.TicketKeys([]string{"a", "b"})
	if len(first) != 2 || bytes.Equal(first["a"][0], first["b"][0]) || bytes.Equal(first["a"][0], first["a"][1]) {
		t.Fatal("two fleets, or two keys of one, are the same")
	}
	if again := s.TicketKeys([]string{"b"}); len(again) != 1 || !slices.EqualFunc(again["b"], first["b"], slices.Equal) {
		t.Error("a fleet's keys changed when another went")
	}
	if back := s.TicketKeys([]string{"a", "b"}); bytes.Equal(back["a"][0], first["a"][0]) {
		t.Error("a fleet that was gone has its old keys")
	}
	for _, key := range first["a"] {
		if text := fmt.Sprintf("%v %#v", key, key); strings.TrimSpace(strings.ReplaceAll(text, "[redacted]", "")) != "" {
			t.Errorf("a key shows: %s", text)
		}
	}
}

// TestTicketKeysDamaged: a damaged line costs a fleet its sessions, and nothing else.
func TestTicketKeysDamaged(t *testing.T) {
	long := make([]byte, 80)
	long[0] = 1
	for name, keys := range map[string][][]byte{
		"too few":   {long},
		"too many":  {long, long, long, long, long},
		"short key": {long, long[:48]},
		"no key":    {long, make([]byte, 80)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := writeRecords(filepath.Join(dir, ticketsFile), []any{ticketsRecord{"edge", tickets{Rotated: time.Now(), Keys: keys}}})
			if err != nil {
				t.Fatal(err)
			}
			s, log := open(t, dir)
			if !strings.Contains(log.String(), "damaged") || strings.Contains(log.String(), "AQAAA") {
				t.Errorf("got log %q, want the damage told, and no key", log)
			}
			if got := s.TicketKeys([]string{"edge"})["edge"]; len(got) != 2 || bytes.Equal(got[0], long) {
				t.Errorf("got %d keys, want two new ones", len(got))
			}
		})
	}
}
