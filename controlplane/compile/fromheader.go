package compile

import (
	"fmt"
	"slices"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// fromHeader makes a rule for each Service that a header may name, out of each of some rules without backends. Envoy's
// cluster_header would let a stranger name any cluster of the fleet.
func (c *compiler) fromHeader(d *definition.Document, field string, m *sluicev1.ServiceFromHeader, rules []ir.Rule) ([]ir.Rule, bool) {
	var out []ir.Rule
	ok := true
	for i, name := range m.GetServices() {
		s := c.services[name]
		if s == nil {
			c.missing(d, fmt.Sprintf("%s.services[%d]", field, i), definition.CodeUnknownService, definition.Ref{Kind: "Service", Name: name})
			ok = false
			continue
		}
		s.used = true
	}
	for _, r := range rules {
		for _, name := range m.GetServices() {
			named := ir.HeaderMatch{Name: m.GetHeader(), Text: ir.Text{Value: name}}
			one := r
			one.Match.Headers = slices.Concat(r.Match.Headers, []ir.HeaderMatch{named})
			one.Backends = []ir.Backend{{Cluster: name, Weight: 1}}
			out = append(out, one)
		}
	}
	return out, ok
}
