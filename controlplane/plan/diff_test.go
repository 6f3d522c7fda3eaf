package plan

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDifference(t *testing.T) {
	hosts := "virtual_hosts:\n  - name: a.test\n    routes:\n      - match:\n          prefix: /\n        route:\n          cluster: one\n          timeout: 1s\n          x: 1\n        name: Route/a#x\n  - name: b.test\n    y: 2\n"
	for name, test := range map[string]struct{ old, next, want string }{
		"nothing":  {"a\nb\n", "a\nb\n", ""},
		"all new":  {"", "a\nb\n", "+a\n+b"},
		"all gone": {"a\n", "", "-a"},
		"in the middle of much": {
			"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
			"@@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8",
		},
		"two places": {
			"a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
			"@@\n-a\n+A\n 1\n 2\n 3\n@@\n 5\n 6\n 7\n-b\n+B",
		},
		"where it is": {
			hosts, strings.Replace(hosts, "x: 1", "x: 3", 1),
			"@@ virtual_hosts > - a.test > routes > - Route/a#x\n         route:\n           cluster: one\n           timeout: 1s\n-          x: 1\n+          x: 3\n         name: Route/a#x\n   - name: b.test\n     y: 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(difference(split(test.old), split(test.next)), "\n")
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// TestEdits plays edits of many texts: they lead from the one to the other, and are as few as can be.
func TestEdits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	text := func() []string {
		lines := make([]string, rng.IntN(12))
		for i := range lines {
			lines[i] = string(rune('a' + rng.IntN(3)))
		}
		return lines
	}
	for range 2000 {
		old, next := text(), text()
		var from, to []string
		changes := 0
		for _, e := range edits(old, next) {
			if e.kind != '+' {
				from = append(from, e.line)
			}
			if e.kind != '-' {
				to = append(to, e.line)
			}
			if e.kind != ' ' {
				changes++
			}
		}
		if !slices.Equal(from, old) || !slices.Equal(to, next) {
			t.Fatalf("%q to %q: got %v", old, next, edits(old, next))
		}
		if want := len(old) + len(next) - 2*longest(old, next); changes != want {
			t.Fatalf("%q to %q: got %d changes, want %d", old, next, changes, want)
		}
	}
}

// longest is the length of the longest common subsequence, the slow way.
func longest(a, b []string) int {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	row := make([]int, len(b)+1)
	for i := range a {
		next := make([]int, len(b)+1)
		for j := range b {
			next[j+1] = max(next[j], row[j+1])
			if a[i] == b[j] {
				next[j+1] = row[j] + 1
			}
		}
		row = next
	}
	return row[len(b)]
}

// TestTooMuch bounds an answer.
func TestTooMuch(t *testing.T) {
	long := func(prefix string) string { return strings.Repeat(prefix+strings.Repeat("x", 1000)+"\n", 3*maxEdits) }
	b := &budget{left: 1 << 20}
	got := b.text(long("a"), long("b"))
	if lines := strings.Count(got, "\n") + 1; lines != maxLines+1 || len(got) > maxLines*(maxWidth+4) || !b.cut {
		t.Errorf("got %d lines of %d bytes, cut %v", lines, len(got), b.cut)
	}
	b = &budget{left: 100}
	if got := b.text(long("a"), long("b")); len(got) > 100 || b.text("", "a") != "@@ 1 lines are not shown" {
		t.Errorf("beyond the budget: got %q", got)
	}
}
