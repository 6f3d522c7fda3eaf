package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// kept says what a store has: documents, where they stand, and what is served in part.
func kept(s *Store) string {
	var all []string
	for ref, d := range s.accepted {
		all = append(all, fmt.Sprint(ref, " ", filepath.Base(d.Position.File), " ", d.Hash, " ", s.partial[ref]))
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// reopened is what another process would find in the folder, as it is, with other bytes for the file of documents.
func reopened(t *testing.T, documents []byte) (what, log string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, documentsFile), documents, 0o600); err != nil {
		t.Fatal(err)
	}
	s, out := open(t, dir)
	defer s.Close()
	return kept(s), out.String()
}

// TestSaveChanges: whatever is edited, what is on disk after each Save is what was accepted; a crash in the middle of one
// leaves what was before, whole; and the file does not grow for ever.
func TestSaveChanges(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, documentsFile)
	s, _ := open(t, dir)
	var files Files
	ports, appended, rewritten := map[int]int{}, 0, 0
	var before []byte
	last := ""
	for step := range 130 {
		for range 1 + rand.IntN(3) {
			switch n := rand.IntN(8); {
			case rand.IntN(4) == 0:
				delete(ports, n)
			default:
				ports[n] = 1 + rand.IntN(1000)
			}
		}
		list := tree{"web", strings.Repeat("# some words\n", 40) + web}
		if rand.IntN(3) == 0 {
			list[1] = half
		}
		for n := range 8 {
			if port := ports[n]; port > 0 {
				list = append(list, fmt.Sprint("f", rand.IntN(8)/7, n), fmt.Sprintf("# %s\n{kind: Service, name: s%d, endpoints: [10.0.0.1:%d]}\n", strings.Repeat("a word ", 90), n, port))
			}
		}
		s.Update(files.Set(list.files()))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		now := kept(s)
		if got, log := reopened(t, after); got != now || log != "" {
			t.Fatalf("step %d: got on disk\n%s\n(%s), want\n%s", step, got, log, now)
		}
		switch {
		case bytes.HasPrefix(after, before) && len(after) > len(before) && before != nil:
			appended++
			for range 3 {
				cut := len(before) + rand.IntN(len(after)-len(before)-1) // all but the line's end is as good as all
				if got, log := reopened(t, after[:cut]); got != last || (log == "") != (cut == len(before)) {
					t.Fatalf("step %d: cut after %d bytes of the last line: got\n%s\n(%s), want\n%s", step, cut-len(before), got, log, last)
				}
			}
		case !bytes.Equal(after, before):
			rewritten++
		}
		if len(after) > minSince+24<<10 {
			t.Fatalf("step %d: got a file of %d bytes", step, len(after))
		}
		before, last = after, now
	}
	if appended < 60 || rewritten < 2 {
		t.Errorf("got %d Saves that added and %d that wrote all, want many and some", appended, rewritten)
	}
}

// TestSaveAfterAFault: where a change could not be added, all is written anew, and what was not saved is saved then.
func TestSaveAfterAFault(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, documentsFile)
	s, _ := open(t, dir)
	var files Files
	save := func(text string) {
		t.Helper()
		s.Update(files.Set(tree{"a", web, "b", shop, "c", text}.files()))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
	}
	save(api)
	if err := os.Remove(path); err != nil { // there is nothing to add to
		t.Fatal(err)
	}
	save(apiTwo)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, log := reopened(t, data); got != kept(s) || log != "" {
		t.Errorf("got\n%s\n(%s), want\n%s", got, log, kept(s))
	}
	// A folder that cannot be written keeps what is to be saved.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.Update(files.Set(tree{"a", web, "b", shop, "c", api}.files()))
	if err := s.Save(); err == nil {
		t.Fatal("saved in a folder that is not there")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("half a line"), 0o600); err != nil { // as a disk that was full leaves it
		t.Fatal(err)
	}
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if data, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if got, _ := reopened(t, data); got != kept(s) || !strings.Contains(got, s.accepted[definition.Ref{Kind: "Service", Name: "api"}].Hash) {
		t.Errorf("got\n%s, want\n%s", got, kept(s))
	}
}

// lastLine gives the last line of a file another body, with a checksum that fits; or without one, if it is nil.
func lastLine(t *testing.T, path string, with func(r *changesRecord)) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from := bytes.LastIndexByte(data[:len(data)-1], '\n') + 1
	if with == nil {
		return append(data[:len(data)-3], "x}\n"...)
	}
	var r changesRecord
	if err := json.Unmarshal(data[from+17:], &r); err != nil {
		t.Fatal(err)
	}
	with(&r)
	line, err := closedLine(r)
	if err != nil {
		t.Fatal(err)
	}
	return append(data[:from], line...)
}

// TestUnreadableChange: a change that this version of sluice takes no more leaves no earlier version behind, as it was with
// one line for each document; where a line is damaged nobody knows whose it was, and that is said.
func TestUnreadableChange(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, documentsFile)
	s, _ := open(t, dir)
	var files Files
	for _, text := range []string{api, apiTwo} {
		s.Update(files.Set(tree{"a", web, "b", shop, "c", text}.files()))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
	}
	got, log := reopened(t, lastLine(t, path, func(r *changesRecord) {
		r.Changed[0].Text = strings.Replace(r.Changed[0].Text, "endpoints", "endpunkte", 1)
	}))
	if strings.Contains(got, "Service/api") || !strings.Contains(got, "Route/shop") || !strings.Contains(log, "endpunkte") {
		t.Errorf("got\n%s\n(%s), want no Service/api", got, log)
	}
	if got, log = reopened(t, lastLine(t, path, nil)); !strings.Contains(got, "Service/api") || !strings.Contains(log, "what was before is taken for the last good version") {
		t.Errorf("got\n%s\n(%s), want the Service/api of before, and a word about it", got, log)
	}
}

// TestMovedOnDisk: what another document's edit moves is told with the next change.
func TestMovedOnDisk(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	var files Files
	for _, port := range []string{":3", ":4"} {
		above := strings.Repeat("# above\n", len(files.parsed))
		s.Update(files.Set(tree{"a", web, "b", shop, "c", above + api, "d", strings.Replace(spare, ":3", port, 1)}.files()))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
	}
	ref := definition.Ref{Kind: "Service", Name: "api"}
	want := s.accepted[ref].Position
	s.Close()
	s, _ = open(t, dir)
	if got := s.accepted[ref].Position; got.Line != want.Line || got.Line < 5 {
		t.Errorf("got line %d after a restart, want %d", got.Line, want.Line)
	}
}
