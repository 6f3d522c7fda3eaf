package definition

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/proto"
)

// sameAsParse compares what a second reading made with what a first would make.
func sameAsParse(t *testing.T, data []byte, got *Parsed) {
	t.Helper()
	documents, problems := Parse("x.yaml", data)
	if list(got.Problems) != list(problems) || len(got.Documents) != len(documents) {
		t.Fatalf("%q: got %d documents and\n%s\nwant %d and\n%s", data, len(got.Documents), list(got.Problems), len(documents), list(problems))
	}
	for i, want := range documents {
		d := got.Documents[i]
		if d.Ref != want.Ref || d.Position != want.Position || d.Hash != want.Hash || !bytes.Equal(d.Text, want.Text) || d.Dir != want.Dir || !proto.Equal(d.Message, want.Message) {
			t.Errorf("%q: got %+v, want %+v", data, d, want)
		}
		for _, at := range want.sites {
			field := at.path.Value()
			if d.At(field) != want.At(field) {
				t.Errorf("%q: %s: got %s, want %s", data, field, d.At(field), want.At(field))
			}
		}
	}
}

// TestReparse: whatever is edited, another reading says what a first one would.
func TestReparse(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no files", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range txtar.Parse(text).Files {
			first := Reparse("x.yaml", file.Data, nil)
			sameAsParse(t, file.Data, first)
			for _, edit := range []string{
				"", "# a line\n\n", "---\n", "{kind: Service, name: new, endpoints: [10.0.0.1:80]}\n---\n", "kind: Service\nname: [broken\n---\n",
			} {
				edited := append([]byte(edit), file.Data...)
				sameAsParse(t, edited, Reparse("x.yaml", edited, first))
				cut := bytes.Replace(file.Data, []byte("name"), []byte("name "), 1)
				sameAsParse(t, cut, Reparse("x.yaml", cut, Reparse("x.yaml", edited, first)))
			}
		}
	}
}

// TestReparseKeeps: what stays is the same, and what moves is made of the same message.
func TestReparseKeeps(t *testing.T) {
	service := func(name string) string {
		return fmt.Sprintf("kind: Service\nname: %s\nendpoints: [10.0.0.1:80]\n---\n", name)
	}
	first := Reparse("x.yaml", []byte(service("a")+service("b")+service("c")), nil)
	data := []byte(service("a") + "# a line\n" + service("b2") + service("c"))
	second := Reparse("x.yaml", data, first)
	sameAsParse(t, data, second)
	if second.Documents[0] != first.Documents[0] || second.Documents[2] == first.Documents[2] || second.Documents[2].Message != first.Documents[2].Message {
		t.Error("got other documents, want the first the same, and the last of the same message")
	}
	third := Reparse("x.yaml", []byte(service("c")), second)
	if third.Documents[0].Message != first.Documents[2].Message || third.Documents[0].Position.Line != 2 {
		t.Errorf("got %+v, want the last of the first, where it is now", third.Documents[0])
	}
	// One text twice is told twice, each in its place.
	twice := []byte(service("c") + service("c"))
	sameAsParse(t, twice, Reparse("x.yaml", twice, third))
	json := []byte(strings.Join(slices.Repeat([]string{`{"kind":"Service","name":"a","endpoints":["10.0.0.1:80"]}`}, 2), " "))
	sameAsParse(t, json, Reparse("x.yaml", json, Reparse("x.yaml", json, nil)))
}
