package compile

import (
	"fmt"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// mirrors resolves where copies go.
func (c *compiler) mirrors(d *definition.Document, field string, list []*sluicev1.Mirror) ([]ir.Mirror, bool) {
	var out []ir.Mirror
	ok := true
	for i, m := range list {
		s := c.services[m.GetService()]
		if s == nil {
			c.missing(d, fmt.Sprintf("%s[%d].service", field, i), definition.CodeUnknownService, definition.Ref{Kind: "Service", Name: m.GetService()})
			ok = false
			continue
		}
		s.used = true
		mirror := ir.Mirror{Cluster: m.GetService(), Fraction: definition.Million}
		if m.GetFraction() != "" {
			mirror.Fraction, _ = definition.ParseFraction(m.GetFraction()) // definition has checked it
		}
		out = append(out, mirror)
	}
	return out, ok
}
