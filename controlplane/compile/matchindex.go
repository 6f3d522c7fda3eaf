package compile

import "github.com/sluice-proxy/sluice/controlplane/ir"

// maxCandidates is how many matches are looked at for one: more of a path and a condition than that cost a warning, not
// the time. So 100,000 rules take 100,000 times some, and not the square.
const maxCandidates = 256

// pathIndex finds the matches that may cover a given one, without asking all of them. What covers it has a path that does,
// and no condition that it has not: so each stands under its path and one of its conditions.
type pathIndex struct {
	// conditioned are matches by path and the one of their conditions that the fewest share when they come.
	conditioned map[indexKey][]int
	// byPath are the matches by path alone.
	byPath     map[pathKey][]int
	longestRaw int
}

type pathKey struct {
	kind ir.PathKind
	path string
}

type indexKey struct {
	pathKey
	condition
}

// condition is a method, or the exact value of a header or parameter: what these are compared with is covered by nothing
// else. Of another kind there is one for all, and the zero value is none.
type condition struct {
	by          byte
	name, value string
}

const (
	byMethod = 'm'
	byHeader = 'h'
	byQuery  = 'q'
	byOther  = '*'
)

// conditions are the exact ones of a match.
func conditions(m ir.Match) []condition {
	var out []condition
	if m.Method != "" {
		out = append(out, condition{byMethod, "", m.Method})
	}
	for _, h := range m.Headers {
		if h.Kind == ir.TextExact && !h.Invert {
			out = append(out, condition{byHeader, h.Name, h.Value})
		}
	}
	for _, q := range m.Query {
		if q.Kind == ir.TextExact {
			out = append(out, condition{byQuery, q.Name, q.Value})
		}
	}
	return out
}

func newPathIndex() *pathIndex {
	return &pathIndex{conditioned: map[indexKey][]int{}, byPath: map[pathKey][]int{}}
}

func (x *pathIndex) add(m ir.Match, id int) {
	path := pathKey{m.PathKind, m.Path}
	x.byPath[path] = append(x.byPath[path], id)
	if m.PathKind == ir.PathRawPrefix {
		x.longestRaw = max(x.longestRaw, len(m.Path))
	}
	best := indexKey{pathKey: path}
	if len(m.Headers) > 0 || len(m.Query) > 0 || m.GRPC || len(m.Sources) > 0 || m.Fraction != nil {
		best.by = byOther
	}
	for i, c := range conditions(m) {
		if key := (indexKey{path, c}); i == 0 || len(x.conditioned[key]) < len(x.conditioned[best]) {
			best = key
		}
	}
	x.conditioned[best] = append(x.conditioned[best], id)
}

// covering calls yield with matches that may cover m, until it returns false. matchCovers decides.
func (x *pathIndex) covering(m ir.Match, yield func(id int) bool) {
	asked := append(conditions(m), condition{}, condition{by: byOther})
	left := maxCandidates
	x.paths(m, func(path pathKey) bool {
		for _, c := range asked {
			for _, id := range x.conditioned[indexKey{path, c}] {
				if left--; left < 0 || !yield(id) {
					return false
				}
			}
		}
		return true
	})
}

// touching calls yield with matches whose path covers that of m, whatever else they ask for, until it returns false.
func (x *pathIndex) touching(m ir.Match, yield func(id int) bool) {
	left := maxCandidates
	x.paths(m, func(path pathKey) bool {
		for _, id := range x.byPath[path] {
			if left--; left < 0 || !yield(id) {
				return false
			}
		}
		return true
	})
}

// paths calls yield with all paths that cover that of m, until it returns false.
func (x *pathIndex) paths(m ir.Match, yield func(pathKey) bool) {
	if !yield(pathKey{}) || m.PathKind == ir.PathAny {
		return
	}
	if m.PathKind == ir.PathExact || m.PathKind == ir.PathRegex {
		if !yield(pathKey{m.PathKind, m.Path}) {
			return
		}
	}
	if m.PathKind == ir.PathRegex {
		m = beginning(m)
	}
	for i := 1; i <= len(m.Path); i++ {
		if (i == len(m.Path) || m.Path[i] == '/') && !yield(pathKey{ir.PathPrefix, m.Path[:i]}) {
			return
		}
		if i <= x.longestRaw && !yield(pathKey{ir.PathRawPrefix, m.Path[:i]}) {
			return
		}
	}
}
