package assemble

import (
	"slices"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Resolved says that the Resolver knows something new.
func (a *Assembler) Resolved() {
	a.turn.Lock()
	defer a.turn.Unlock()
	if !a.closed {
		a.settle()
	}
}

// watch says which names are wanted: those of what serves, and of what is to serve.
func (a *Assembler) watch() {
	if a.options.Resolver == nil {
		return
	}
	var wanted []*config.DNS
	for _, clusters := range []map[string]*entry[*config.Cluster]{a.clusters.latest, a.clusters.active} {
		for _, c := range clusters {
			if c.value.DNS != nil {
				wanted = append(wanted, c.value.DNS)
			}
		}
	}
	a.options.Resolver.Watch(wanted)
}

// isResolved tells whether each name has had an answer, or a failure: as Envoy, a cluster waits for no more than that.
func (a *Assembler) isResolved(d *config.DNS) bool {
	if a.options.Resolver == nil {
		return true
	}
	_, ok := a.options.Resolver.Endpoints(d)
	return ok
}

// resolvedNow are the endpoints of the active clusters by DNS.
func (a *Assembler) resolvedNow() map[string]*config.Assignment {
	next := map[string]*config.Assignment{}
	for name, c := range a.clusters.active {
		d := c.value.DNS
		if d == nil || a.options.Resolver == nil {
			continue
		}
		endpoints, ok := a.options.Resolver.Endpoints(d)
		old := a.resolved[name]
		if old == nil && !ok {
			continue
		}
		// What says the same stays the very same object.
		if next[name] = old; ok && (old == nil || !slices.Equal(old.Endpoints, endpoints)) {
			next[name] = &config.Assignment{Name: name, Endpoints: endpoints}
		}
	}
	a.resolved = next
	return next
}
