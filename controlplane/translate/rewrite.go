package translate

import (
	"strings"

	"google.golang.org/protobuf/proto"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// rewritten adds a rule's rewrite to its route, which may take two routes.
//
// Envoy's prefix_rewrite replaces the bytes that matched, and knows no segments: of /api/x the prefix /api as "/" would
// make //x. So "/" for a prefix is two routes: one for /api/, which takes its slash along, and one for /api alone.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/route/v3/route_components.proto#config-route-v3-routeaction
func rewritten(r *ir.Rule, m *routepb.Route) []*routepb.Route {
	if r.Redirect != nil && r.Redirect.Prefix != "" {
		return prefixRewritten(&r.Match, r.Redirect.Prefix, m)
	}
	w := r.Rewrite
	if w == nil {
		return []*routepb.Route{m}
	}
	a := m.GetRoute()
	if w.Host != "" {
		a.HostRewriteSpecifier = &routepb.RouteAction_HostRewriteLiteral{HostRewriteLiteral: w.Host}
	}
	switch {
	case w.Path != "" && r.Match.PathKind == ir.PathExact:
		a.PrefixRewrite = w.Path
	case w.Path != "":
		a.RegexRewrite = substitute(`^.*`, strings.ReplaceAll(w.Path, `\`, `\\`))
	case w.Pattern != "":
		a.RegexRewrite = substitute(w.Pattern, w.Substitution)
	case w.Prefix != "":
		return prefixRewritten(&r.Match, w.Prefix, m)
	}
	return []*routepb.Route{m}
}

// prefixRewritten replaces what the match's path matched, for the backends or in a redirect. A '/' at the end of a prefix
// means nothing, here as in matches; a rawPrefix is bytes, and so is what stands for it.
func prefixRewritten(match *ir.Match, with string, m *routepb.Route) []*routepb.Route {
	switch match.PathKind {
	case ir.PathAny: // the prefix "/"
		with = strings.TrimSuffix(with, "/") + "/"
	case ir.PathPrefix:
		if with = strings.TrimSuffix(with, "/"); with == "" {
			alone := proto.CloneOf(m)
			alone.Match.PathSpecifier = &routepb.RouteMatch_Path{Path: match.Path}
			setPrefix(alone, "/")
			m.Match.PathSpecifier = &routepb.RouteMatch_Prefix{Prefix: match.Path + "/"}
			setPrefix(m, "/")
			return []*routepb.Route{alone, m}
		}
	}
	setPrefix(m, with)
	return []*routepb.Route{m}
}

func setPrefix(m *routepb.Route, with string) {
	if a := m.GetRedirect(); a != nil {
		a.PathRewriteSpecifier = &routepb.RedirectAction_PrefixRewrite{PrefixRewrite: with}
	} else {
		m.GetRoute().PrefixRewrite = with
	}
}

func substitute(pattern, substitution string) *matcherpb.RegexMatchAndSubstitute {
	return &matcherpb.RegexMatchAndSubstitute{Pattern: &matcherpb.RegexMatcher{Regex: pattern}, Substitution: substitution}
}
