package controlplane

import (
	"github.com/sluice-proxy/sluice/controlplane/provenance"
)

// origins are the documents of a resource that is served.
func (b *builder) origins(fleet, typeURL, name string) []provenance.Origin {
	if r := b.latest.Load(); r != nil {
		return provenance.Find(r.Compiled, fleet, typeURL, name)
	}
	return nil
}
