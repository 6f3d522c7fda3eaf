package definition

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzParse: no bytes make the parser panic, every problem says where it is, and what parses is the same document when
// its Text is parsed again, or the file after an edit, and when what Expand prints of it is.
func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			if file.Name != "want" {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		documents, problems := Parse("x.yaml", data)
		for _, p := range problems {
			if p.Code == CodeFault {
				t.Errorf("got %q, want no panic", p.Message)
			}
			if p.Line < 1 || p.Column < 1 || p.Message == "" || Explain(p.Code) == "" {
				t.Errorf("got %+v, want a place, a message and a known code", p)
			}
		}
		moved := append([]byte("{kind: Service, name: x}\n---\n"), data...)
		sameAsParse(t, moved, Reparse("x.yaml", moved, Reparse("x.yaml", data, nil)))
		for _, d := range documents {
			again, problems := Parse("y.yaml", d.Text)
			if len(problems) > 0 || len(again) != 1 || again[0].Hash != d.Hash || again[0].Ref != d.Ref {
				t.Errorf("%q: got %d documents and\n%s", d.Text, len(again), list(problems))
			}
			text, err := Expand(d)
			if err != nil {
				t.Fatal(err)
			}
			if expanded, problems := Parse("z.yaml", text); len(problems) > 0 || len(expanded) == 0 || expanded[0].Ref != d.Ref {
				t.Errorf("%q: expanded to\n%s\n%s", d.Text, text, list(problems))
			}
		}
	})
}
