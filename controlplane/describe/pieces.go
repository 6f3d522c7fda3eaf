package describe

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// piece is a resource of a fleet that has something of a document.
type piece struct {
	fleet, typeURL, name string
}

// piecesOf says for every document what became of it.
func piecesOf(s *served.Served) map[definition.Ref][]piece {
	out, owner := map[definition.Ref][]piece{}, ownerOf(s)
	for _, name := range slices.Sorted(maps.Keys(s.Fleets)) {
		f := s.Fleets[name].IR
		if f == nil {
			continue
		}
		type of struct {
			ref definition.Ref
			piece
		}
		seen := map[of]bool{}
		add := func(ref definition.Ref, typeURL, resource string) {
			p := piece{name, typeURL, resource}
			if !seen[of{ref, p}] {
				seen[of{ref, p}] = true
				out[ref] = append(out[ref], p)
			}
		}
		for _, c := range f.Clusters {
			ref := definition.Ref{Kind: "Service", Name: c.Name}
			add(ref, resource.ClusterType, c.Name)
			if c.DNS == nil {
				add(ref, resource.EndpointType, c.Name)
			}
		}
		for i := range f.Certificates {
			add(definition.Ref{Kind: "Certificate", Name: f.Certificates[i].Name}, resource.SecretType, f.Certificates[i].Name)
		}
		for i := range f.TrustBundles {
			add(definition.Ref{Kind: "TrustBundle", Name: f.TrustBundles[i].Name}, resource.SecretType, translate.TrustBundle(f.TrustBundles[i].Name))
		}
		for i := range f.Listeners {
			l := &f.Listeners[i]
			for _, c := range chainsOf(l) {
				add(gatewayOf(c.Name), resource.ListenerType, l.Name)
				if c.Certificate != "" {
					add(definition.Ref{Kind: "Certificate", Name: c.Certificate}, resource.ListenerType, l.Name)
				}
			}
		}
		for _, t := range f.RouteTables {
			add(gatewayOf(t.Name), resource.RouteType, t.Name)
			for _, h := range t.Hosts {
				last := definition.Ref{}
				for i := range h.Rules {
					if ref := owner(h.Rules[i].ID); ref != last {
						last = ref
						add(ref, resource.VirtualHostType, resource.HostName(t.Name, h.Name))
					}
				}
			}
		}
	}
	return out
}

// ownerOf finds the document of a rule's ID. A Service's own hosts make a Route of its name, which is no document.
func ownerOf(s *served.Served) func(id string) definition.Ref {
	there := map[definition.Ref]bool{}
	for _, d := range s.Result.Documents {
		there[d.Ref] = true
	}
	return func(id string) definition.Ref {
		ref := served.DocumentOf(id)
		if service := (definition.Ref{Kind: "Service", Name: ref.Name}); ref.Kind == "Route" && !there[ref] && there[service] {
			return service
		}
		return ref
	}
}

func chainsOf(l *ir.Listener) []*ir.FilterChain {
	var chains []*ir.FilterChain
	for i := range l.Chains {
		chains = append(chains, &l.Chains[i])
	}
	if l.Default != nil {
		chains = append(chains, l.Default)
	}
	return chains
}

// gatewayOf is that of a filter chain or a route table: their names begin with it.
func gatewayOf(name string) definition.Ref {
	gateway, _, _ := strings.Cut(name, "/")
	return definition.Ref{Kind: "Gateway", Name: gateway}
}

// usersOf are the documents that send requests or connections to a Service.
func usersOf(s *served.Served, ref definition.Ref) []string {
	if ref.Kind != "Service" {
		return nil
	}
	users, owner := map[string]bool{}, ownerOf(s)
	to := func(backends []ir.Backend) bool {
		return slices.ContainsFunc(backends, func(b ir.Backend) bool { return b.Cluster == ref.Name })
	}
	for _, f := range s.Fleets {
		if f.IR == nil {
			continue
		}
		for i := range f.IR.Listeners {
			for _, c := range chainsOf(&f.IR.Listeners[i]) {
				if c.TCP != nil && to(c.TCP.Backends) {
					users[gatewayOf(c.Name).String()] = true
				}
			}
		}
		for _, t := range f.IR.RouteTables {
			for _, h := range t.Hosts {
				for i := range h.Rules {
					r := &h.Rules[i]
					if to(r.Backends) || slices.ContainsFunc(r.Mirrors, func(m ir.Mirror) bool { return m.Cluster == ref.Name }) {
						users[owner(r.ID).String()] = true
					}
				}
			}
		}
	}
	delete(users, ref.String())
	return slices.Sorted(maps.Keys(users))
}

const (
	// maxItems of a list in a resource, maxLines of a resource are shown, and maxText bytes in all.
	maxItems = 50
	maxLines = 400
	maxText  = 2 << 20
)

// resources are the pieces, with what of each is the document's.
func resources(s *served.Served, ref definition.Ref, pieces []piece) (out []*adminv1.DescribedResource) {
	pieces = slices.Clone(pieces)
	slices.SortStableFunc(pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(a.fleet, b.fleet), cmp.Compare(order(a.typeURL), order(b.typeURL)), cmp.Compare(a.name, b.name))
	})
	left, owner := maxText, ownerOf(s)
	for _, p := range pieces {
		snapshot := s.Fleets[p.fleet].Snapshot
		if snapshot == nil {
			continue
		}
		r := snapshot.Set(p.typeURL).Get(p.name)
		if r == nil {
			continue // not published yet, or the fleet keeps what it has
		}
		t, _ := resource.ByURL(p.typeURL)
		described := &adminv1.DescribedResource{Fleet: text(p.fleet), Type: t.Short, Name: text(p.name), Version: r.Version}
		rendered, err := served.RenderPart(p.typeURL, r, maxItems, func(list, name string) bool { return partOf(ref, list, name, owner) })
		if err != nil {
			rendered = "# it cannot be shown: " + err.Error() + "\n"
		}
		if lines := strings.SplitAfter(rendered, "\n"); len(lines) > maxLines {
			rendered = strings.Join(lines[:maxLines], "") + "# and more\n"
		}
		if len(rendered) > left {
			rendered, left = "# not shown: the answer is too long\n", 0
		} else {
			left -= len(rendered)
		}
		described.Yaml = text(rendered)
		out = append(out, described)
	}
	return out
}

// partOf says whether an item of a list in a resource is a document's own.
func partOf(ref definition.Ref, list, name string, owner func(id string) definition.Ref) bool {
	switch list {
	case "filter_chains":
		switch parts := strings.Split(name, "/"); ref.Kind { // gateway/listener/certificate
		case "Gateway":
			return gatewayOf(name) == ref
		case "Certificate":
			return len(parts) > 2 && parts[2] == ref.Name
		}
	case "routes":
		return ref.Kind == "Gateway" || owner(name) == ref
	}
	return true
}
