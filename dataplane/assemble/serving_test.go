package assemble_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/assemble"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// serves names what Serving returns, by type.
func (r *rig) serves() string {
	var parts []string
	for _, u := range r.Serving() {
		t, _ := resource.ByURL(u.TypeURL)
		part := t.Short
		for _, res := range u.Resources {
			part += " " + res.Name + "@" + res.Version
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// TestServing: what serves is told from the first complete configuration on: not what is still to come, or refused.
func TestServing(t *testing.T) {
	changes := 0
	r := newRig(t, func(o *assemble.Options) { o.Changed = func() { changes++ } })
	r.send(cds, cluster("a", "1s", ""))
	r.send(eds, endpoints("a", 1))
	r.send(lds, listener("web", 80, "t"))
	if changes != 0 {
		t.Errorf("%d changes before anything was complete", changes)
	}
	r.send(rds, table("t", "a"))
	if got := r.serves(); changes != 1 || got != "CDS a@1, EDS a@2, LDS web@3, SDS, RDS t@4, VHDS" {
		t.Errorf("%d changes: %s", changes, got)
	}
	// A newer listener that waits for its table, and a refused one.
	r.send(lds, listener("web", 80, "t2"))
	r.bindErrors["busy"] = errors.New("busy")
	r.send(lds, listener("busy", 81, "t"))
	if got := r.serves(); changes != 1 || got != "CDS a@1, EDS a@2, LDS web@3, SDS, RDS t@4, VHDS" {
		t.Errorf("%d changes: %s", changes, got)
	}
	r.send(rds, table("t2", "a"))
	if got := r.serves(); changes != 2 || got != "CDS a@1, EDS a@2, LDS web@5, SDS, RDS t2@7, VHDS" {
		t.Errorf("%d changes: %s", changes, got)
	}
}
