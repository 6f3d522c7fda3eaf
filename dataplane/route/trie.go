package route

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// none stands for no rule: it is behind all others.
const none = math.MaxInt32

// trie finds the first rule of a virtual host that matches, in a time that grows with the length of the path and not
// with the number of rules. It is a radix tree over the bytes of the paths: the nodes along a request's path hold all
// rules whose path fits, and of these the lowest in the written order is the first match. Read-only once built.
//
// A regular expression stands where all paths that it matches begin, if need be at the root, and is asked as a header is.
type trie struct {
	rules []Rule
	// nodes[0] is the root; the children of a node stand side by side.
	nodes []node
	// text holds for each node its label, and behind it the first byte of each child's.
	text []byte
	// samePaths are the rules that share a path, and look at more than that.
	samePaths []samePath
}

// node is 32 bytes: there may be one for each rule, hundreds of thousands in all, and a walk costs what it touches of the
// memory: for each node it touches two lines of the cache, the node and its text.
type node struct {
	// label, text[text : text+label], is what comes after the parent's path.
	text, label int32
	// children are nodes[children : children+count].
	children int32
	// lowest is the first rule in the written order that this node, or one below it, holds.
	lowest int32
	// rules are those whose path ends here, by config.PathKind: the index of one plain rule, or
	// ^i for trie.samePaths[i], or none.
	rules [3]int32
	count uint16
}

// newTrie takes n log n comparisons for n rules, all of them off the request path.
func newTrie(rules []Rule) trie {
	t := trie{rules: rules}
	if len(rules) == 0 {
		return t
	}
	sorted := make([]entry, len(rules))
	for i, r := range rules {
		sorted[i] = entry{path: r.Match.Path, rule: int32(i)}
	}
	slices.SortFunc(sorted, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.path, b.path), cmp.Compare(a.rule, b.rule))
	})
	t.nodes = append(make([]node, 0, len(rules)+len(rules)/4+1), node{})
	t.fill(0, sorted, 0)
	t.nodes = slices.Clone(t.nodes)
	t.text = slices.Clone(t.text)
	return t
}

type entry struct {
	path string
	rule int32
}

// fill makes the node of entries, sorted and at least one, that agree in their first depth bytes.
func (t *trie) fill(at int32, entries []entry, depth int) {
	// Sorted, what the first and the last have in common all have.
	end := depth + commonPrefix(entries[0].path[depth:], entries[len(entries)-1].path[depth:])
	n := node{text: int32(len(t.text)), label: int32(end - depth)}
	t.text = append(t.text, entries[0].path[depth:end]...)
	here := 0
	for here < len(entries) && len(entries[here].path) == end {
		here++
	}
	n.rules = t.ending(entries[:here])
	entries = entries[here:]
	n.lowest = none
	for _, r := range n.rules {
		n.lowest = min(n.lowest, t.first(r))
	}

	n.children = int32(len(t.nodes))
	for i := range entries {
		if i == 0 || entries[i].path[end] != entries[i-1].path[end] {
			t.nodes = append(t.nodes, node{})
			t.text = append(t.text, entries[i].path[end])
			n.count++
		}
	}
	for child, i := n.children, 0; i < len(entries); child++ {
		j := i + 1
		for j < len(entries) && entries[j].path[end] == entries[i].path[end] {
			j++
		}
		t.fill(child, entries[i:j], end)
		n.lowest = min(n.lowest, t.nodes[child].lowest)
		i = j
	}
	t.nodes[at] = n
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// ending sorts the rules of one path, in their order, by kind.
func (t *trie) ending(entries []entry) [3]int32 {
	out := [3]int32{none, none, none}
	var byKind [3][]int32
	for _, e := range entries {
		m := &t.rules[e.rule].Match
		kind := m.PathKind
		if kind != config.PathExact && kind != config.PathSeparatedPrefix {
			kind = config.PathPrefix
		}
		switch {
		case out[kind] != none:
			// A plain one is before it: it can never match.
		case len(byKind[kind]) == 0 && plain(m):
			out[kind] = e.rule
		default:
			byKind[kind] = append(byKind[kind], e.rule)
		}
	}
	for kind, rules := range byKind {
		if len(rules) > 0 {
			out[kind] = ^int32(len(t.samePaths))
			t.samePaths = append(t.samePaths, newSamePath(t.rules, rules))
		}
	}
	return out
}

// first is the lowest rule of an entry of node.rules.
func (t *trie) first(r int32) int32 {
	if r < 0 {
		return t.samePaths[^r].rules[0]
	}
	return r
}

// match is the index of the first rule that matches, or none. path is the request's, without the query.
func (t *trie) match(req *message.Request, given *Given, path string) int32 {
	best := int32(none)
	if len(t.nodes) == 0 {
		return best
	}
	for at := int32(0); ; {
		n := &t.nodes[at]
		// What is below may be left out once an earlier rule has matched.
		if n.lowest >= best || len(path) < int(n.label) || string(t.text[n.text:n.text+n.label]) != path[:n.label] {
			return best
		}
		path = path[n.label:]
		best = t.better(n.rules[config.PathPrefix], req, given, best)
		if path == "" {
			best = t.better(n.rules[config.PathExact], req, given, best)
			return t.better(n.rules[config.PathSeparatedPrefix], req, given, best)
		}
		if path[0] == '/' {
			best = t.better(n.rules[config.PathSeparatedPrefix], req, given, best)
		}
		firsts := n.text + n.label
		i := bytes.IndexByte(t.text[firsts:firsts+int32(n.count)], path[0])
		if i < 0 {
			return best
		}
		at = n.children + int32(i)
	}
}

// better is an entry of node.rules, if it matches before best does; else best.
func (t *trie) better(r int32, req *message.Request, given *Given, best int32) int32 {
	if r < 0 {
		return t.samePaths[^r].match(t.rules, req, given, best)
	}
	return min(r, best)
}
