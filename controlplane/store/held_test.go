package store

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// TestHeld: a version that is held back is not served and never becomes the last good one, be there another or none; a
// deletion too; another text is served at once.
func TestHeld(t *testing.T) {
	ref := definition.Ref{Kind: "Service", Name: "api"}
	dir := t.TempDir()
	s, _ := open(t, dir)
	var files Files
	update := func(text string, held map[definition.Ref]Held) *Result {
		set := files.Set(tree{"a.yaml", text}.files())
		set.Held = held
		return s.Update(set)
	}
	version := func(r *Result) *definition.Document {
		for _, d := range r.Documents {
			if d.Ref == ref {
				return d
			}
		}
		return nil
	}
	one := version(update(web+"---\n"+shop+"---\n"+api, nil))
	two := version(update(web+"---\n"+shop+"---\n"+apiTwo, nil))
	if s.Accepted()[ref] != two {
		t.Fatal("the second version is not accepted")
	}
	for _, step := range []struct {
		name, text string
		held       Held
		serves     *definition.Document
		inForce    bool
		words      []string
	}{
		{"the last good version", web + "---\n" + shop + "---\n" + apiTwo, Held{Hash: two.Hash, Instead: one, Why: "they refuse it"}, one, true, []string{"SL0701 Service/api last good version"}},
		{"for a reason of its own", web + "---\n" + shop + "---\n" + apiTwo, Held{Hash: two.Hash, Instead: one, Why: "they lack it", Code: definition.CodeUnsupported}, one, true, []string{"SL0703 Service/api last good version"}},
		{"without a word, while it is in doubt", web + "---\n" + shop + "---\n" + apiTwo, Held{Hash: two.Hash, Instead: one, Why: ""}, one, true, nil},
		{"another text", web + "---\n" + shop + "---\n" + api, Held{Hash: two.Hash, Instead: one, Why: "they refuse it"}, one, false, nil},
		{"none at all", web + "---\n" + shop + "---\n" + apiTwo, Held{Hash: two.Hash, Why: "they refuse it"}, nil, true, []string{"SL0201 Route/shop nothing", "SL0701 Service/api nothing"}},
		{"the deletion", web, Held{Instead: one, Why: "they refuse it"}, one, true, []string{"SL0701 Service/api last good version"}},
	} {
		r := update(step.text, map[definition.Ref]Held{ref: step.held})
		if got := version(r); got != step.serves && (got == nil || step.serves == nil || got.Hash != step.serves.Hash) {
			t.Errorf("%s: got %v served, want %v", step.name, got, step.serves)
		}
		if got := s.Accepted()[ref]; got != nil && got.Hash == two.Hash {
			t.Errorf("%s: what is held back is the last good version", step.name)
		}
		if err := s.Save(); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(filepath.Join(dir, documentsFile)); err != nil {
			t.Fatal(err)
		} else if got, _ := reopened(t, data); got != kept(s) {
			t.Errorf("%s: got on disk\n%s\nwant\n%s", step.name, got, kept(s))
		}
		if r.Held[ref] != step.inForce {
			t.Errorf("%s: got in force %v, want %v", step.name, r.Held[ref], step.inForce)
		}
		if got := words(r); !slices.Equal(slices.Sorted(slices.Values(got)), step.words) {
			t.Errorf("%s: got %q, want %q", step.name, got, step.words)
		}
	}

	s.KeepQuarantine([]Quarantined{{Document: one, About: json.RawMessage(`{"x":1}`)}, {About: json.RawMessage(`{"nothing":"edge"}`)}})
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s, _ = open(t, dir)
	var got []string
	for _, q := range s.Quarantine() {
		text := string(q.About)
		if q.Document != nil {
			text += " " + q.Document.Ref.String() + "@" + q.Document.Hash
		}
		got = append(got, text)
	}
	slices.Sort(got)
	if want := []string{`{"nothing":"edge"}`, `{"x":1} Service/api@` + one.Hash}; !slices.Equal(got, want) {
		t.Errorf("got %s kept, want %s", strings.Join(got, "; "), strings.Join(want, "; "))
	}
}
