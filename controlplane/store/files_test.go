package store

import (
	"errors"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/source"
)

// TestFiles: a file that stayed is not parsed again, and one that went or cannot be read is forgotten.
func TestFiles(t *testing.T) {
	var files Files
	first := files.Set(tree{"a", web, "b", shop, "c", api}.files())
	second := files.Set(tree{"a", web, "b", shop + "# edited\n", "c", api}.files())
	for i, d := range second.Documents {
		if same := d == first.Documents[i]; same != (i != 1) {
			t.Errorf("document %d: got the same %v", i, same)
		}
	}
	list := tree{"a", web, "c", api}.files()
	list[1] = source.File{Path: "c", Err: errors.New("cannot be read")}
	if set := files.Set(list); len(files.parsed) != 1 || len(set.Documents) != 1 || len(set.Unknown) != 1 {
		t.Errorf("got %d files in memory, %d documents, %q unknown", len(files.parsed), len(set.Documents), set.Unknown)
	}
}
