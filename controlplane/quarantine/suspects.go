package quarantine

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// doubts are the documents that are published to a fleet and differ from base, which may be nil: then they are all that
// the fleet is made of. What another fleet has run for a while is not among them.
func (r *Room) doubts(name string, base []*definition.Document, now time.Time) []change {
	old := byRef(base)
	used, elsewhere := names(r.published.Fleets[name].Made), r.elsewhere(name, now)
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
		used := names(r.published.Fleets[other].Made)
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

func compareRefs(a, b definition.Ref) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
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
		return cmp.Or(cmp.Compare(key(a), key(b)), compareRefs(a.ref(), b.ref()))
	})
}

// kindsOf are the documents that a type of resource is mostly made of.
var kindsOf = map[string][]string{
	resource.ClusterType: {"Service"}, resource.EndpointType: {"Service"}, resource.SecretType: {"Certificate", "TrustBundle"},
	resource.ListenerType: {"Gateway"}, resource.RouteType: {"Route"},
}

// order puts the suspects last whom the proxies seem to mean, and returns where they begin: those that the text names, or
// else those of the kinds that make resources of the type.
func (r *Room) order(s *search) int {
	known := names(r.published.Fleets[s.fleet].Made)
	words := wordsOf(s.refusal.Text)
	meant := map[definition.Ref]bool{}
	for _, c := range s.suspects {
		ref := c.ref()
		meant[ref] = words[ref.Name] || slices.ContainsFunc(known[ref], func(n string) bool { return words[n] })
	}
	if !slices.Contains(slices.Collect(maps.Values(meant)), true) {
		for url, kinds := range kindsOf {
			if t, _ := resource.ByURL(url); t.Short == s.refusal.Type {
				for _, c := range s.suspects {
					meant[c.ref()] = slices.Contains(kinds, c.ref().Kind)
				}
			}
		}
	}
	slices.SortStableFunc(s.suspects, func(a, b change) int {
		switch {
		case meant[a.ref()] == meant[b.ref()]:
			return 0
		case meant[a.ref()]:
			return 1
		}
		return -1
	})
	return slices.IndexFunc(s.suspects, func(c change) bool { return meant[c.ref()] })
}

// wordsOf are all that may be a name in a text: words, and what stands in quotes, as a whole and in parts.
func wordsOf(text string) map[string]bool {
	out := map[string]bool{}
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" '\"(),;#", c) }) {
		word = strings.Trim(word, ".")
		out[word], out[strings.TrimSuffix(word, ":")] = true, true
		for _, part := range strings.FieldsFunc(word, func(c rune) bool { return strings.ContainsRune(":/=", c) }) {
			out[part] = true
		}
	}
	return out
}

// names are the documents that a fleet is made of, and the names of what becomes of them.
func names(f *ir.Fleet) map[definition.Ref][]string {
	out := map[definition.Ref][]string{}
	if f == nil {
		return out
	}
	add := func(kind, name string, as ...string) {
		ref := definition.Ref{Kind: kind, Name: name}
		out[ref] = append(out[ref], as...)
	}
	for _, c := range f.Clusters {
		add("Service", c.Name, c.Name)
	}
	for _, c := range f.Certificates {
		add("Certificate", c.Name, c.Name)
	}
	for _, t := range f.TrustBundles {
		add("TrustBundle", t.Name, t.Name)
	}
	for i := range f.Listeners {
		l := &f.Listeners[i]
		chains := l.Chains
		if l.Default != nil {
			chains = append(slices.Clone(chains), *l.Default)
		}
		for _, c := range chains {
			gateway, _, _ := strings.Cut(c.Name, "/")
			add("Gateway", gateway, l.Name, c.Name)
		}
	}
	for _, t := range f.RouteTables {
		gateway, _, _ := strings.Cut(t.Name, "/")
		add("Gateway", gateway, t.Name)
		for _, h := range t.Hosts {
			for i := range h.Rules {
				document, _, _ := strings.Cut(h.Rules[i].ID, "#")
				if kind, name, ok := strings.Cut(document, "/"); ok {
					add(kind, name, h.Name, h.Rules[i].ID)
				}
			}
		}
	}
	return out
}
