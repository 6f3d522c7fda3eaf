package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

func open(t *testing.T, dir string) (*Store, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := Open(Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, &log
}

func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, _ := open(t, dir)
	var files Files
	s.Update(files.Set(tree{"a.yaml", "# above\n" + web + "---\n" + shop + "---\n# the API\n" + api}.files()))
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	line := s.Accepted()[definition.Ref{Kind: "Service", Name: "api"}].Position
	before, err := os.Stat(filepath.Join(dir, documentsFile))
	if err != nil {
		t.Fatal(err)
	}
	if mode := before.Mode().Perm(); mode != 0o600 {
		t.Errorf("got mode %o, want 600", mode)
	}
	// A comment writes nothing.
	s.Update(files.Set(tree{"a.yaml", "# more\n# above\n" + web + "---\n" + shop + "---\n" + api}.files()))
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(filepath.Join(dir, documentsFile)); !os.SameFile(before, after) {
		t.Error("got the state written for a comment, want it left alone")
	}
	if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another control plane") {
		t.Errorf("got %v for a folder in use, want a refusal", err)
	}
	s.Close()

	s, log := open(t, dir)
	if log.Len() > 0 {
		t.Errorf("got %s, want nothing to say", log)
	}
	if got := s.Accepted()[definition.Ref{Kind: "Service", Name: "api"}].Position; got != line {
		t.Errorf("got position %s, want %s", got, line)
	}
	r := s.Update(files.Set(tree{"a.yaml", web + "---\n" + shop + "---\n" + apiBad}.files()))
	if got := state(r); got != all {
		t.Errorf("got served %q after a restart with a bad document, want %q", got, all)
	}
	if got := words(r); !slices.Equal(got, []string{"SL0107 Service/api last good version"}) {
		t.Errorf("got %q", got)
	}
	s.Close()

	s, _ = open(t, dir)
	if got := state(s.Update(Set{})); got != all {
		t.Errorf("got served %q with an empty folder after a restart, want %q", got, all)
	}
}

// ofFormat gives a file of three records the header of another version.
func ofFormat(version int) func(data []byte) []byte {
	return func(data []byte) []byte {
		line := fmt.Appendf(nil, `{"sluiceState":%d,"records":3}`, version)
		return append([]byte(sum(line)+" "+string(line)+"\n"), data[bytes.IndexByte(data, '\n')+1:]...)
	}
}

func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(data []byte) []byte
		want   int // documents left
		said   string
	}{
		{"one line", func(d []byte) []byte { return bytes.Replace(d, []byte("127.0.0.1:1"), []byte("127.0.0.1:9"), 1) }, 2, "checksum"},
		{"cut short", func(d []byte) []byte { return d[:len(d)-20] }, 2, "checksum"},
		{"cut at a line", func(d []byte) []byte { return d[:bytes.LastIndexByte(d[:len(d)-1], '\n')+1] }, 2, "got 2 records, want 3"},
		{"empty", func([]byte) []byte { return nil }, 0, "checksum"},
		{"rubbish", func([]byte) []byte { return bytes.Repeat([]byte{0, 1, '\n'}, 10) }, 0, "checksum"},
		{"another version", ofFormat(3), 0, "another version"},
		{"the version before", ofFormat(1), 3, ""},
		{"a document that is no longer right", func(d []byte) []byte {
			var out []byte
			for line := range bytes.Lines(d) {
				body := bytes.TrimSuffix(line[17:], []byte("\n"))
				body = bytes.Replace(body, []byte("endpoints"), []byte("endpunkte"), 1)
				out = append(out, sum(body)+" "+string(body)+"\n"...)
			}
			return out
		}, 2, "endpunkte"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := open(t, dir)
			var files Files
			s.Update(files.Set(tree{"a", web, "b", shop, "c", api}.files()))
			if err := s.Save(); err != nil {
				t.Fatal(err)
			}
			s.Close()
			path := filepath.Join(dir, documentsFile)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			s, log := open(t, dir)
			if got := len(s.Accepted()); got != c.want {
				t.Errorf("got %d documents, want %d", got, c.want)
			}
			if !strings.Contains(log.String(), c.said) {
				t.Errorf("got log %q, want %q in it", log, c.said)
			}
			// The next change mends it.
			s.Update(files.Set(tree{"a", web, "b", shop, "c", apiTwo}.files()))
			if err := s.Save(); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if s, log := open(t, dir); len(s.Accepted()) != 3 || log.Len() > 0 {
				t.Errorf("got %d documents and %q after it was mended, want 3", len(s.Accepted()), log)
			}
		})
	}
}

// BenchmarkOpen opens a state whose documents stood in one file: work per document does not grow with their number.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{1000, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			s, err := Open(Options{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			text := web
			for i := range n {
				text += fmt.Sprintf("---\n{kind: Service, name: s%d, endpoints: [127.0.0.1:1]}\n", i)
			}
			var files Files
			s.Update(files.Set(tree{"a", text}.files()))
			if err := errors.Join(s.Save(), s.Close()); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := Open(Options{Dir: dir})
				if err != nil || len(s.Accepted()) != n+1 {
					b.Fatal(err)
				}
				s.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/document")
		})
	}
}

// TestSpelling names the same files in another way after a restart: what stood in them is known again.
func TestSpelling(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	abs := filepath.Join(dir, "defs")
	steps(t, []step{
		{tree{"defs/a", web, "defs/b", shop, "defs/c", api}, all, nil, false},
		{tree{abs + "/a", web, abs + "/b", shop, abs + "/c", nameless}, all, []string{"SL0107 Service last good version"}, true},
		{tree{"defs", ""}, all, []string{"SL0401  last good version"}, true},
		{tree{"./defs/a", web, "./defs/aa", apiTwo, "./defs/b", shop, "./defs/c", api}, all, []string{"SL0301 Service/api nothing"}, true},
		{tree{abs + "/a", web, abs + "/aa", apiTwo, abs + "/b", shop, abs + "/c", apiBad}, all,
			[]string{"SL0301 Service/api nothing", "SL0107 Service/api last good version"}, true},
	})
}

// TestSpellingGoesOn names the same files in another way while the process goes on, with as many documents as before: who is
// served is known again among those that want its name.
func TestSpellingGoesOn(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	abs := filepath.Join(dir, "defs")
	edited := strings.Replace(apiTwo, ":2", ":4", 1)
	steps(t, []step{
		{tree{"defs/a", api, "defs/b", shop, "defs/c", web, "defs/d", spare}, all, nil, false},
		{tree{"defs/a", api, "defs/b", shop, "defs/c", web, "defs/d", spare}, all, nil, false},
		{tree{abs + "/0", apiTwo, abs + "/a", edited, abs + "/b", shop, abs + "/c", web}, "web/http Route/shop#any api=127.0.0.1:4", []string{"SL0301 Service/api nothing"}, false},
	})
}

// TestSaveAgain: of the second Save on, what changed is written anew, and what did not is there all the same.
func TestSaveAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, _ := open(t, dir)
	var files Files
	service := func(name string, port int) string {
		return fmt.Sprintf("{kind: Service, name: %s, endpoints: [10.0.0.1:%d]}\n---\n", name, port)
	}
	for port, text := range []string{
		service("a", 1) + service("b", 1), service("a", 1) + service("b", 2), service("b", 2) + service("c", 3), "# moved\n" + service("c", 4) + service("b", 2),
	} {
		s.Update(files.Set(tree{"a.yaml", text}.files()))
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		s.Close()
		again, log := open(t, dir)
		want := s.Accepted()
		got := again.Accepted()
		if log.Len() > 0 || len(got) != len(want) {
			t.Errorf("step %d: got %v, want %v; %s", port, got, want, log)
		}
		for ref, d := range want {
			if got[ref] == nil || got[ref].Hash != d.Hash {
				t.Errorf("step %d: %s: got another document, want that which was accepted", port, ref)
			}
		}
		again.Close()
		lock, err := lockFolder(dir) // s goes on
		if err != nil {
			t.Fatal(err)
		}
		s.lock = lock
	}
}
