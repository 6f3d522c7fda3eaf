package plan

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// around is how many lines that stay are shown about one that changes.
	around = 3
	// maxEdits is how many lines are looked at for the shortest difference; beyond it, all in between is given as changed.
	maxEdits = 1000
	// maxLines is for one difference, maxDiffs for all of an answer, in bytes.
	maxLines = 400
	maxDiffs = 2 << 20
	maxWidth = 400 // bytes of a line
)

// budget bounds what an answer holds.
type budget struct {
	left int
	cut  bool
}

// text is what changes from a text to another, or all of the one that is there.
func (b *budget) text(old, next string) string {
	lines := difference(split(old), split(next))
	if len(lines) > maxLines {
		more := len(lines) - maxLines
		lines = append(lines[:maxLines:maxLines], fmt.Sprintf("@@ %d more lines", more))
		b.cut = true
	}
	for i, l := range lines {
		if len(l) > maxWidth {
			lines[i] = strings.ToValidUTF8(l[:maxWidth], "") + "…"
		}
	}
	out := strings.Join(lines, "\n")
	if len(out) > b.left {
		b.cut, b.left = true, 0
		return fmt.Sprintf("@@ %d lines are not shown", len(lines))
	}
	b.left -= len(out)
	return out
}

// Difference is what changes from one text to another: lines that begin with "+", "-", " " or "@@".
func Difference(old, next string) string {
	b := budget{left: maxDiffs}
	return b.text(old, next)
}

func split(text string) []string {
	text = strings.TrimRight(strings.ToValidUTF8(text, "\uFFFD"), "\n")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// edit is a line of a difference: ' ' stays, '-' goes, '+' comes.
type edit struct {
	kind byte
	line string
	old  int // its place in the old text, or where it would be
}

// difference is the lines that change, with some about them. Each stretch begins with "@@" and where it is: the keys that
// it is under, by indentation.
func difference(old, next []string) []string {
	edits := edits(old, next)
	if len(old) == 0 || len(next) == 0 {
		return stretch(edits)
	}
	var out []string
	for i := 0; i < len(edits); {
		if edits[i].kind == ' ' {
			i++
			continue
		}
		end, quiet := i, 0 // the stretch ends where nothing changes for long enough
		for j := i; j < len(edits) && quiet <= 2*around; j++ {
			if edits[j].kind == ' ' {
				quiet++
			} else {
				end, quiet = j+1, 0
			}
		}
		begin, to := max(0, i-around), min(len(edits), end+around)
		out = append(out, strings.TrimRight("@@ "+breadcrumbs(old, edits[begin].old), " "))
		out = append(out, stretch(edits[begin:to])...)
		i = to
	}
	return out
}

func stretch(edits []edit) []string {
	lines := make([]string, len(edits))
	for i, e := range edits {
		lines[i] = string(e.kind) + e.line
	}
	return lines
}

// edits is the shortest way from old to next (E. Myers, "An O(ND) Difference Algorithm and Its Variations", 1986).
func edits(old, next []string) []edit {
	begin := 0
	for begin < min(len(old), len(next)) && old[begin] == next[begin] {
		begin++
	}
	tail := 0
	for tail < min(len(old), len(next))-begin && old[len(old)-1-tail] == next[len(next)-1-tail] {
		tail++
	}
	var out []edit
	for i := range begin {
		out = append(out, edit{' ', old[i], i})
	}
	out = append(out, middle(old[begin:len(old)-tail], next[begin:len(next)-tail], begin)...)
	for i := len(old) - tail; i < len(old); i++ {
		out = append(out, edit{' ', old[i], i})
	}
	return out
}

func middle(a, b []string, at int) []edit {
	trace := path(a, b)
	if trace == nil {
		var out []edit
		for i, l := range a {
			out = append(out, edit{'-', l, at + i})
		}
		for _, l := range b {
			out = append(out, edit{'+', l, at + len(a)})
		}
		return out
	}
	var back []edit
	x, y := len(a), len(b)
	for d := len(trace) - 1; d >= 0; d-- {
		k, v := x-y, trace[d]
		before := k - 1
		if k == -d || k != d && v[k-1+d+1] < v[k+1+d+1] {
			before = k + 1
		}
		px := v[before+d+1]
		py := px - before
		if d == 0 {
			px, py = 0, 0
		}
		for x > px && y > py {
			x, y = x-1, y-1
			back = append(back, edit{' ', a[x], at + x})
		}
		switch {
		case d == 0:
		case x > px:
			x--
			back = append(back, edit{'-', a[x], at + x})
		default:
			y--
			back = append(back, edit{'+', b[y], at + x})
		}
	}
	slices.Reverse(back)
	return back
}

// path is, for each number of edits, how far one has got on each diagonal before the next one: the row of d edits has the
// diagonals from -d-1 to d+1. Nil is too far.
func path(a, b []string) (trace [][]int) {
	most := min(len(a)+len(b), maxEdits)
	reach, middle := make([]int, 2*most+3), most+1
	for d := 0; d <= most; d++ {
		trace = append(trace, slices.Clone(reach[middle-d-1:middle+d+2]))
		for k := -d; k <= d; k += 2 {
			x := reach[middle+k-1] + 1
			if k == -d || k != d && reach[middle+k-1] < reach[middle+k+1] {
				x = reach[middle+k+1]
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			reach[middle+k] = x
			if x >= len(a) && x-k >= len(b) {
				return trace
			}
		}
	}
	return nil
}

// breadcrumbs are the keys above a line of YAML, and the names of the list's items that it is in.
func breadcrumbs(lines []string, at int) string {
	if at >= len(lines) {
		return ""
	}
	var keys []string
	depth := indent(lines[at])
	for i := at; i >= 0 && depth > 0; i-- {
		in := indent(lines[i])
		if in >= depth || strings.TrimSpace(lines[i]) == "" {
			continue
		}
		depth = in
		text := strings.TrimSpace(lines[i])
		if strings.HasPrefix(text, "- ") {
			keys = append(keys, "- "+itemName(lines, i, in))
			continue
		}
		key, _, _ := strings.Cut(text, ":")
		keys = append(keys, key)
	}
	slices.Reverse(keys)
	return strings.Join(keys, " > ")
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// itemName is what `name` says in the item of a list that begins at a line; else its first line.
func itemName(lines []string, at, depth int) string {
	first := strings.TrimPrefix(strings.TrimSpace(lines[at]), "- ")
	for i := at; i < len(lines) && (i == at || indent(lines[i]) > depth); i++ {
		text := strings.TrimPrefix(strings.TrimLeft(lines[i], " "), "- ")
		if name, ok := strings.CutPrefix(text, "name: "); ok && (i == at || indent(lines[i]) == depth+2) {
			return name
		}
	}
	return first
}
