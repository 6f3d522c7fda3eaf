package decode

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-proxy/sluice/xds/features"
)

// TestFeatures holds the announced table against the walk: what this proxy accepts it says that it takes, and what it
// would refuse it does not.
func TestFeatures(t *testing.T) {
	word := features.Word(Features())
	t.Logf("the word has %d bytes", len(word))
	if len(word) > 8<<10 {
		t.Errorf("got a word of %d bytes, want some KB: every stream begins with it", len(word))
	}
	taken, err := features.Parse(word)
	if err != nil || !taken.Covers(Features()) {
		t.Fatalf("got error %v, want what was announced", err)
	}
	files, err := filepath.Glob(translated)
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files and error %v", len(files), err)
	}
	used := map[string]bool{} // fields of which something is sent
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resources(t, text) {
			if lacks, err := taken.Lacks(r); err != nil || len(lacks) > 0 {
				t.Errorf("%s: got %v and error %v, want all of it taken", file, lacks, err)
			}
			// Without any one message nothing that is in it is taken.
			for key := range Features() {
				if used[key] {
					continue
				}
				less := features.Table{}
				for k, v := range Features() {
					if k != key {
						less[k] = v
					}
				}
				lacks, err := less.Taken().Lacks(r)
				used[key] = err == nil && len(lacks) > 0
			}
		}
	}
	n := 0
	for _, u := range used {
		if u {
			n++
		}
	}
	t.Logf("%d of %d messages are sent", n, len(Features()))
	if n < 50 {
		t.Errorf("got %d messages whose lack is seen, want most", n)
	}
}
