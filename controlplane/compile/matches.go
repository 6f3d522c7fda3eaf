package compile

import (
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// matchCovers says whether every request that fits narrow fits wide too.
func matchCovers(wide, narrow ir.Match) bool {
	if wide.Method != "" && wide.Method != narrow.Method || !pathCovers(wide, narrow) {
		return false
	}
	for _, h := range wide.Headers {
		if !slices.Contains(narrow.Headers, h) {
			return false
		}
	}
	return true
}

// matchOverlaps says whether some request may fit both.
func matchOverlaps(a, b ir.Match) bool {
	if a.Method != "" && b.Method != "" && a.Method != b.Method || !pathCovers(a, b) && !pathCovers(b, a) {
		return false
	}
	for _, x := range a.Headers {
		for _, y := range b.Headers {
			if x.Name == y.Name && x.Kind == ir.TextExact && y.Kind == ir.TextExact && x.Value != y.Value && !x.Invert && !y.Invert {
				return false
			}
		}
	}
	return true
}

// pathCovers is exact for paths: two of them have a path in common only if one covers the other.
func pathCovers(wide, narrow ir.Match) bool {
	switch wide.PathKind {
	case ir.PathAny:
		return true
	case ir.PathExact:
		return narrow.PathKind == ir.PathExact && wide.Path == narrow.Path
	case ir.PathRawPrefix:
		return narrow.PathKind != ir.PathAny && strings.HasPrefix(narrow.Path, wide.Path)
	case ir.PathPrefix:
		if narrow.PathKind == ir.PathAny || !strings.HasPrefix(narrow.Path, wide.Path) {
			return false
		}
		rest := narrow.Path[len(wide.Path):]
		return strings.HasPrefix(rest, "/") || rest == "" && narrow.PathKind != ir.PathRawPrefix
	}
	return false
}

// pathIndex finds the matches whose path covers a given one, without asking all of them.
type pathIndex struct {
	any                     []int
	exact, prefix, rawStart map[string][]int
	longestRaw              int
}

func newPathIndex() *pathIndex {
	return &pathIndex{exact: map[string][]int{}, prefix: map[string][]int{}, rawStart: map[string][]int{}}
}

func (x *pathIndex) add(m ir.Match, id int) {
	switch m.PathKind {
	case ir.PathAny:
		x.any = append(x.any, id)
	case ir.PathExact:
		x.exact[m.Path] = append(x.exact[m.Path], id)
	case ir.PathPrefix:
		x.prefix[m.Path] = append(x.prefix[m.Path], id)
	case ir.PathRawPrefix:
		x.rawStart[m.Path] = append(x.rawStart[m.Path], id)
		x.longestRaw = max(x.longestRaw, len(m.Path))
	}
}

// covering calls yield with the matches whose path may cover that of m, until it returns false. matchCovers decides.
func (x *pathIndex) covering(m ir.Match, yield func(id int) bool) {
	lists := [][]int{x.any}
	if m.PathKind == ir.PathExact {
		lists = append(lists, x.exact[m.Path])
	}
	if m.PathKind != ir.PathAny {
		for i := 1; i <= len(m.Path); i++ {
			if i == len(m.Path) || m.Path[i] == '/' {
				lists = append(lists, x.prefix[m.Path[:i]])
			}
			if i <= x.longestRaw {
				lists = append(lists, x.rawStart[m.Path[:i]])
			}
		}
	}
	for _, list := range lists {
		for _, id := range list {
			if !yield(id) {
				return
			}
		}
	}
}
