package compile

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// expandMatch makes one ir.Match for each method. A nil match is anything.
func expandMatch(m *sluicev1.Match) []ir.Match {
	base := ir.Match{Headers: headerMatches(m.GetHeaders()), Query: queryMatches(m.GetQueryParams())}
	switch p := m.GetPath().GetKind().(type) {
	case *sluicev1.PathMatch_Exact:
		base.PathKind, base.Path = ir.PathExact, p.Exact
	case *sluicev1.PathMatch_Prefix:
		if path := strings.TrimRight(p.Prefix, "/"); path != "" {
			base.PathKind, base.Path = ir.PathPrefix, path
		}
	case *sluicev1.PathMatch_RawPrefix:
		if p.RawPrefix != "/" {
			base.PathKind, base.Path = ir.PathRawPrefix, p.RawPrefix
		}
	case *sluicev1.PathMatch_Regex:
		base.PathKind, base.Path = ir.PathRegex, p.Regex
	}
	if m.GetFraction() != "" {
		// A checked message has no other.
		if share, err := definition.ParseFraction(m.GetFraction()); err == nil && share < definition.Million {
			base.Fraction = &share
		}
	}
	for _, text := range m.GetSourceAddresses() {
		if network, err := definition.ParseNetwork(text); err == nil {
			base.Sources = append(base.Sources, network)
		}
	}
	slices.SortFunc(base.Sources, netip.Prefix.Compare)
	if g := m.GetGrpc(); g != nil {
		base.GRPC, base.Method = true, "POST"
		switch {
		case g.GetMethod() != "":
			base.PathKind, base.Path = ir.PathExact, "/"+g.GetService()+"/"+g.GetMethod()
		case g.GetService() != "":
			base.PathKind, base.Path = ir.PathRawPrefix, "/"+g.GetService()+"/"
		}
	}
	if len(m.GetMethods()) == 0 {
		return []ir.Match{base}
	}
	matches := make([]ir.Match, 0, len(m.GetMethods()))
	for _, method := range m.GetMethods() {
		one := base
		one.Method = method
		matches = append(matches, one)
	}
	return matches
}

// headerMatches sorts and drops repetitions: all must hold, in whatever order they are written.
func headerMatches(list []*sluicev1.HeaderMatch) []ir.HeaderMatch {
	var out []ir.HeaderMatch
	for _, h := range list {
		one := ir.HeaderMatch{Name: strings.ToLower(h.GetName()), Text: textOf(h, h.Present), Invert: h.GetInvert()}
		if one.Invert && one.Kind == ir.TextPresent {
			one.Kind, one.Invert = ir.TextAbsent, false
		} else if one.Invert && one.Kind == ir.TextAbsent {
			one.Kind, one.Invert = ir.TextPresent, false
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b ir.HeaderMatch) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value), cmp.Compare(bit(a.Invert), bit(b.Invert)))
	})
	return slices.Compact(out)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// queryMatches does the same for parameters of the query.
func queryMatches(list []*sluicev1.QueryMatch) []ir.QueryMatch {
	var out []ir.QueryMatch
	for _, q := range list {
		out = append(out, ir.QueryMatch{Name: q.GetName(), Text: textOf(q, q.Present)})
	}
	slices.SortFunc(out, func(a, b ir.QueryMatch) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
	})
	return slices.Compact(out)
}

// textOf is the one comparison that a checked message has.
func textOf(m interface {
	GetExact() string
	GetPrefix() string
	GetSuffix() string
	GetContains() string
	GetRegex() string
}, present *bool) ir.Text {
	switch {
	case m.GetPrefix() != "":
		return ir.Text{Kind: ir.TextPrefix, Value: m.GetPrefix()}
	case m.GetSuffix() != "":
		return ir.Text{Kind: ir.TextSuffix, Value: m.GetSuffix()}
	case m.GetContains() != "":
		return ir.Text{Kind: ir.TextContains, Value: m.GetContains()}
	case m.GetRegex() != "":
		return ir.Text{Kind: ir.TextRegex, Value: m.GetRegex()}
	case present != nil && *present:
		return ir.Text{Kind: ir.TextPresent}
	case present != nil:
		return ir.Text{Kind: ir.TextAbsent}
	}
	return ir.Text{Value: m.GetExact()}
}
