package compile

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/regex"
)

// matchCovers says whether every request that fits narrow fits wide too. It may say no where the answer is yes: of two
// different regular expressions it knows only what their paths begin with.
func matchCovers(wide, narrow ir.Match) bool {
	switch {
	case wide.Method != "" && wide.Method != narrow.Method, wide.GRPC && !narrow.GRPC, !pathCovers(wide, narrow):
		return false
	case wide.Fraction != nil && (narrow.Fraction == nil || *narrow.Fraction > *wide.Fraction):
		// Each request draws once: who is in the smaller share is in the greater one.
		return false
	}
	if len(wide.Sources) > 0 && (len(narrow.Sources) == 0 || !networksCover(wide.Sources, narrow.Sources)) {
		return false
	}
	for _, w := range wide.Headers {
		if !slices.ContainsFunc(narrow.Headers, func(n ir.HeaderMatch) bool { return headerCovers(w, n) }) {
			return false
		}
	}
	for _, w := range wide.Query {
		if !slices.ContainsFunc(narrow.Query, func(n ir.QueryMatch) bool { return w.Name == n.Name && textCovers(w.Text, n.Text) }) {
			return false
		}
	}
	return true
}

func networksCover(wide, narrow []netip.Prefix) bool {
	for _, n := range narrow {
		if !slices.ContainsFunc(wide, func(w netip.Prefix) bool { return w.Bits() <= n.Bits() && w.Contains(n.Addr()) }) {
			return false
		}
	}
	return true
}

// headerCovers is about one header: what is inverted wants it to be there, too.
func headerCovers(wide, narrow ir.HeaderMatch) bool {
	switch {
	case wide == narrow:
		return true
	case wide.Name != narrow.Name || wide.Invert:
		return false
	case narrow.Invert:
		return wide.Kind == ir.TextPresent
	}
	return textCovers(wide.Text, narrow.Text)
}

func textCovers(wide, narrow ir.Text) bool {
	if wide == narrow {
		return true
	}
	switch wide.Kind {
	case ir.TextPresent:
		return narrow.Kind != ir.TextAbsent
	case ir.TextPrefix:
		return (narrow.Kind == ir.TextExact || narrow.Kind == ir.TextPrefix) && strings.HasPrefix(narrow.Value, wide.Value)
	case ir.TextSuffix:
		return (narrow.Kind == ir.TextExact || narrow.Kind == ir.TextSuffix) && strings.HasSuffix(narrow.Value, wide.Value)
	case ir.TextContains:
		return narrow.Kind <= ir.TextContains && strings.Contains(narrow.Value, wide.Value)
	}
	return false
}

// matchOverlaps says whether some request may fit both.
func matchOverlaps(a, b ir.Match) bool {
	if a.Method != "" && b.Method != "" && a.Method != b.Method || !pathCovers(a, b) && !pathCovers(b, a) {
		return false
	}
	if len(a.Sources) > 0 && len(b.Sources) > 0 && !slices.ContainsFunc(a.Sources, func(x netip.Prefix) bool {
		return slices.ContainsFunc(b.Sources, x.Overlaps)
	}) {
		return false
	}
	for _, x := range a.Headers {
		for _, y := range b.Headers {
			if x.Name == y.Name && !x.Invert && !y.Invert && textsDiffer(x.Text, y.Text) {
				return false
			}
		}
	}
	for _, x := range a.Query {
		for _, y := range b.Query {
			if x.Name == y.Name && textsDiffer(x.Text, y.Text) {
				return false
			}
		}
	}
	return true
}

// textsDiffer says whether no value fits both. (A header may have several lines; who tells rules apart by one has one.)
func textsDiffer(a, b ir.Text) bool {
	return a.Kind == ir.TextExact && b.Kind == ir.TextExact && a.Value != b.Value || (a.Kind == ir.TextAbsent) != (b.Kind == ir.TextAbsent)
}

// pathCovers is exact for paths that are no regular expressions: two of them have a path in common only if one covers the
// other.
func pathCovers(wide, narrow ir.Match) bool {
	if narrow.PathKind == ir.PathRegex {
		if wide.PathKind == ir.PathRegex {
			return wide.Path == narrow.Path
		}
		narrow = beginning(narrow)
	}
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

// beginning is what all paths begin with that a regular expression matches.
func beginning(m ir.Match) ir.Match {
	return ir.Match{PathKind: ir.PathRawPrefix, Path: regex.Prefix(m.Path)}
}
