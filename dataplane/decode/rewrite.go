package decode

import (
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/regex"
)

// rewriting is what can be rewritten of a path, and of a host where requests are forwarded.
type rewriting interface {
	GetHostRewriteLiteral() string
	GetPrefixRewrite() string
	GetRegexRewrite() *matcherpb.RegexMatchAndSubstitute
}

// redirected is a redirect, whose host is another field's.
type redirected struct{ *routepb.RedirectAction }

func (redirected) GetHostRewriteLiteral() string { return "" }

// rewrite is nil where nothing is rewritten.
func (d *decoder) rewrite(at string, m rewriting) *config.Rewrite {
	w := config.Rewrite{Host: m.GetHostRewriteLiteral(), Prefix: m.GetPrefixRewrite()}
	if s := m.GetRegexRewrite(); s != nil {
		if w.Prefix != "" {
			d.refuse(at+".regex_rewrite", "got prefix_rewrite too, want one of them")
		}
		var err error
		if w.Pattern, w.With, err = regex.Substitution(s.GetPattern().GetRegex(), s.GetSubstitution()); err != nil {
			d.refuse(at+".regex_rewrite", "%v", err)
		}
	}
	if w == (config.Rewrite{}) {
		return nil
	}
	return &w
}
