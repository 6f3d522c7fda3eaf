package decode

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGoldenFeatures keeps docs/envoy-api.md what the table of decode says.
func TestGoldenFeatures(t *testing.T) {
	const file = "../../docs/envoy-api.md"
	got := featurePage()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("docs/envoy-api.md: run `make golden`. Want (-), got (+):\n%s", diff)
	}
}

// TestGoldenFeaturesInShort keeps ARCHITECTURE.md's table what the table of decode says.
func TestGoldenFeaturesInShort(t *testing.T) {
	const file, begin, end = "../../ARCHITECTURE.md", "<!-- made by `make golden` -->\n", "<!-- end -->\n"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(page), begin)
	want, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("ARCHITECTURE.md: want a table between %q and %q", begin, end)
	}
	got := featuresInShort()
	if *update {
		if err := os.WriteFile(file, []byte(before+begin+got+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ARCHITECTURE.md: run `make golden`. Want (-), got (+):\n%s", diff)
	}
}

// featuresInShort counts the fields of each part of Envoy's API by what the proxy does with them.
func featuresInShort() string {
	type count struct{ messages, all, some, none, refused, fields int }
	counts, seen := map[string]*count{}, map[string]bool{}
	for _, f := range Table() {
		part := string(f.Message)
		part = part[:strings.LastIndex(part, ".v3.")+3]
		c := counts[part]
		if c == nil {
			c = &count{}
			counts[part] = c
		}
		if m := string(f.Within + ">" + f.Message); !seen[m] {
			seen[m] = true
			c.messages++
		}
		c.fields++
		switch word := verdict(&f); {
		case word == "yes":
			c.all++
		case word == "refused":
			c.refused++
		case word == "no effect":
			c.none++
		default:
			c.some++
		}
	}
	var b strings.Builder
	b.WriteString("| part of the API | messages | fields (Envoy) | taken | some values | no effect | refused |\n|---|--:|--:|--:|--:|--:|--:|\n")
	for _, part := range slices.Sorted(maps.Keys(counts)) {
		c := counts[part]
		fmt.Fprintf(&b, "| `%s` | %d | %d | %d | %d | %d | %d |\n", part, c.messages, c.fields, c.all, c.some, c.none, c.refused)
	}
	return b.String()
}

// featurePage is the table as a page of Markdown.
func featurePage() string {
	var b strings.Builder
	b.WriteString(`# Envoy's API, as the Go proxy takes it

Every message of Envoy's v3 API that the Go proxy looks into, and what it does with each field. Envoy 1.40 takes them all. A
message that is not here is refused, and so is a field that is: the NACK (or, for the bootstrap, the error at the start) names
resource and field. "No effect" means that nothing a client, an upstream or an operator could rely on depends on it here.
This page is made from the table that decides (` + "`dataplane/decode/table*.go`" + `) by ` + "`make golden`" + `.
`)
	var section string
	for _, f := range Table() {
		title := string(f.Message)
		if f.Within != "" {
			title += fmt.Sprintf(", in %s", f.Within)
		}
		if title != section {
			section = title
			fmt.Fprintf(&b, "\n## %s\n\n| field | Go proxy | |\n|---|---|---|\n", title)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, verdict(&f), strings.ReplaceAll(f.Note, "|", `\|`))
	}
	return b.String()
}

// verdict is what the proxy does with a field, in words.
func verdict(f *Field) string {
	switch {
	case f.Support == Refused:
		return "refused"
	case f.Support == Harmless:
		return "no effect"
	case len(f.Extensions) > 0:
		var names []string
		for _, e := range f.Extensions {
			names = append(names, e.Name)
		}
		return "yes: " + strings.Join(names, ", ")
	case f.Required:
		return "must be " + oneOf(f.Values)
	case len(f.Values) > 0:
		return "only " + oneOf(f.Values)
	}
	return "yes"
}
