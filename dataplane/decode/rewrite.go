package decode

import (
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/regex"
)

// rewrite is nil where nothing is rewritten.
func (d *decoder) rewrite(at string, m *routepb.RouteAction) *config.Rewrite {
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
