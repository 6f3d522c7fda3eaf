package quarantine

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// doubts are the documents that are published to a fleet and differ from base, which may be nil: then they are all that
// the fleet is made of. What another fleet has run for a while is not among them.
func (r *Room) doubts(name string, base []*definition.Document, now time.Time) []change {
	old := byRef(base)
	used, elsewhere := rosterOf(r.published.Fleets[name].Made).own, r.elsewhere(name, now)
	var out []change
	for _, d := range r.published.Documents {
		before := old[d.Ref]
		delete(old, d.Ref)
		if before == d || before != nil && before.Hash == d.Hash || before == nil && used[d.Ref] == nil || elsewhere[version{d.Ref, d.Hash}] {
			continue
		}
		out = append(out, change{before, d})
	}
	for _, d := range old {
		out = append(out, change{d, nil})
	}
	byKind(out)
	return out
}

// elsewhere are the versions that other fleets have accepted a while ago.
func (r *Room) elsewhere(name string, now time.Time) map[version]bool {
	out := map[version]bool{}
	for other, f := range r.fleets {
		if other == name {
			continue
		}
		old := f.before
		if now.Sub(f.at) > absent {
			old = f.proven
		}
		used := rosterOf(r.published.Fleets[other].Made).own
		for _, d := range old {
			if used[d.Ref] != nil {
				out[version{d.Ref, d.Hash}] = true
			}
		}
	}
	return out
}

func byRef(documents []*definition.Document) map[definition.Ref]*definition.Document {
	out := make(map[definition.Ref]*definition.Document, len(documents))
	for _, d := range documents {
		out[d.Ref] = d
	}
	return out
}

func sortedNames(m map[string]*fleet) []string { return slices.Sorted(maps.Keys(m)) }

// kinds are in an order in which each refers only to those before.
var kinds = []string{"TrustBundle", "Certificate", "Service", "Gateway", "Route"}

func rank(kind string) int {
	if i := slices.Index(kinds, kind); i >= 0 {
		return i
	}
	return len(kinds)
}

// byKind puts what others refer to first; deletions come last, in the opposite order.
func byKind(changes []change) {
	key := func(c change) int {
		if c.to == nil {
			return 2*len(kinds) - rank(c.from.Ref.Kind)
		}
		return rank(c.to.Ref.Kind) - len(kinds) - 1
	}
	slices.SortStableFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(key(a), key(b)), definition.CompareRefs(a.ref(), b.ref()))
	})
}
