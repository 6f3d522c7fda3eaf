package assemble

import (
	"maps"
	"slices"

	"github.com/sluice-proxy/sluice/xds/client"
)

// Serving are the resources that serve now, as the control plane sent them, without static ones: what is referred to
// comes behind what refers to it, by which it is asked for. Any goroutine may call it.
func (a *Assembler) Serving() []client.Update {
	a.mu.Lock()
	defer a.mu.Unlock()
	return []client.Update{
		serving(a.clusters), serving(a.assignments), serving(a.listeners), serving(a.secrets), serving(a.tables),
		serving(a.hosts.set),
	}
}

func serving[T any](s *set[T]) client.Update {
	u := client.Update{TypeURL: s.typeURL, Version: s.version}
	for _, name := range slices.Sorted(maps.Keys(s.active)) {
		if e := s.active[name]; !e.static {
			u.Resources = append(u.Resources, client.Resource{Name: name, Version: e.version, Body: e.raw})
		}
	}
	return u
}
