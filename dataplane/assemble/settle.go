package assemble

import (
	"maps"
	"slices"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// settle activates what is warm, asks for what is referred to, forgets what is not, and applies the configuration if it
// differs from the one that runs.
func (a *Assembler) settle() {
	a.mu.Lock()
	a.watch()
	a.activate()
	a.follow()
	a.watch()
	next := a.build()
	complete := a.complete()
	a.mu.Unlock()

	changed := a.applied == nil || !equal(a.applied, next)
	if changed {
		a.applied = next
		if err := a.options.Apply(next); err != nil {
			// It did what it could. The next change tries all again.
			a.options.Logger.Error("the configuration could not be applied in full", "error", err)
			a.applied = nil
		}
	}
	first := complete && !a.isReady
	if first {
		a.isReady, changed = true, true
	}
	if changed && a.isReady && a.options.Changed != nil {
		a.options.Changed()
	}
	if first {
		// Last: who ends the proxy as soon as it is ready finds what served kept.
		close(a.ready)
	}
}

// activate moves what is warm from latest to active: leaves first, so that one pass will do.
func (a *Assembler) activate() {
	a.assignments.activateAll()
	a.secrets.activateAll()
	for name, c := range a.clusters.latest {
		active := a.clusters.active[name]
		if active == c {
			continue
		}
		if slices.ContainsFunc(secretsOf(c.value), func(secret string) bool { return !a.secrets.settled(secret, active != nil) }) {
			continue
		}
		if d := c.value.DNS; d != nil {
			if a.isResolved(d) {
				a.clusters.active[name] = c
			}
			continue
		}
		ref := c.value.AssignmentName
		if ref == "" || a.assignments.settled(ref, active != nil) && !(active != nil && a.awaited.waits(ref)) {
			a.clusters.active[name] = c
		}
	}
	a.activateHosts()
	for name, t := range a.tables.latest {
		if a.clustersServe(clustersOf(t.value)) && a.hostsServe(t.value) {
			a.tables.active[name] = t
		}
	}
	for name, l := range a.listeners.latest {
		if a.listenerIsWarm(l) {
			a.listeners.active[name] = l
		}
	}
	a.retire()
}

// clustersServe tells whether routes to these clusters may take over: those that are still to come for the first time
// would answer 503. A cluster that nobody knows is not waited for, as in Envoy.
func (a *Assembler) clustersServe(names []string) bool {
	if !a.clusters.answered && !a.clusters.overdue {
		return false
	}
	for _, name := range names {
		if a.clusters.latest[name] != nil && a.clusters.active[name] == nil {
			return false
		}
	}
	return true
}

func (a *Assembler) listenerIsWarm(l *entry[*config.Listener]) bool {
	older := a.listeners.active[l.name] != nil
	refs := referencesOf(l.value)
	for _, name := range refs.tables {
		accepted := a.tables.latest[name] != nil
		if accepted && a.tables.active[name] == nil || !a.tables.settled(name, older) {
			return false
		}
	}
	for _, name := range refs.secrets {
		if !a.secrets.settled(name, older) {
			return false
		}
	}
	return a.clustersServe(refs.clusters)
}

// retire ends what is active and not accepted any more. A cluster stays while something that serves refers to it only
// because its own newer version still warms: the control plane, which was told that the newer one is accepted, may
// think that the cluster is free to go.
func (a *Assembler) retire() {
	for name := range a.listeners.active {
		if a.listeners.latest[name] == nil {
			delete(a.listeners.active, name)
		}
	}
	for name := range a.tables.active {
		if a.tables.latest[name] == nil {
			delete(a.tables.active, name)
		}
	}
	held := map[string]bool{}
	for name, t := range a.tables.active {
		if a.tables.latest[name] != t {
			for _, c := range clustersOf(t.value) {
				held[c] = true
			}
		}
	}
	for name, h := range a.hosts.active {
		if a.hosts.latest[name] != h {
			for _, c := range clustersOfHost(nil, h.value) {
				held[c] = true
			}
		}
	}
	for name, l := range a.listeners.active {
		if a.listeners.latest[name] == l {
			continue
		}
		refs := referencesOf(l.value)
		for _, c := range refs.clusters {
			held[c] = true
		}
		for _, table := range refs.tables {
			if t := a.tables.active[table]; t != nil {
				for _, c := range clustersOf(t.value) {
					held[c] = true
				}
			}
		}
	}
	for name := range a.clusters.active {
		if a.clusters.latest[name] == nil && !held[name] {
			delete(a.clusters.active, name)
		}
	}
}

// follow asks for what is referred to, by what serves and by what is to serve, and forgets the rest.
func (a *Assembler) follow() {
	tables, secrets, assignments := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, listeners := range []map[string]*entry[*config.Listener]{a.listeners.latest, a.listeners.active} {
		for _, l := range listeners {
			refs := referencesOf(l.value)
			for _, name := range refs.tables {
				tables[name] = true
			}
			for _, name := range refs.secrets {
				if e := a.secrets.latest[name]; e == nil || !e.static {
					secrets[name] = true
				}
			}
		}
	}
	for _, clusters := range []map[string]*entry[*config.Cluster]{a.clusters.latest, a.clusters.active} {
		for _, c := range clusters {
			if name := c.value.AssignmentName; name != "" {
				assignments[name] = true
			}
			for _, name := range secretsOf(c.value) {
				if e := a.secrets.latest[name]; e == nil || !e.static {
					secrets[name] = true
				}
			}
		}
	}
	a.tables.keep(tables)
	a.secrets.keep(secrets)
	a.assignments.keep(assignments)
	a.hosts.keep(tables)
	a.expectHosts()
	for name := range a.tables.active {
		if a.tables.latest[name] == nil {
			delete(a.tables.active, name)
		}
	}
	a.secrets.activateAll()
	a.assignments.activateAll()
	if s := a.options.Subscriber; s != nil {
		s.Subscribe(resource.EndpointType, slices.Collect(maps.Keys(assignments)))
		s.Subscribe(resource.SecretType, slices.Collect(maps.Keys(secrets)))
		s.Subscribe(resource.RouteType, slices.Collect(maps.Keys(tables)))
		if !a.hosts.asked && len(a.hosts.waiting.until) > 0 {
			a.hosts.asked = true
			s.SubscribeAll(resource.VirtualHostType)
		}
	}
}

// build makes the configuration of what is active.
func (a *Assembler) build() *config.Config {
	c := &config.Config{
		Listeners:    values(a.listeners.active),
		RouteTables:  a.hosts.whole(a.tables.active),
		Clusters:     values(a.clusters.active),
		Assignments:  values(a.assignments.active),
		Resolved:     a.resolvedNow(),
		Certificates: map[string]*config.Certificate{},
		TicketKeys:   map[string]*config.TicketKeys{},
		Validations:  map[string]*config.Validation{},
	}
	for name, e := range a.secrets.active {
		switch {
		case e.value.Certificate != nil:
			c.Certificates[name] = e.value.Certificate
		case e.value.Validation != nil:
			c.Validations[name] = e.value.Validation
		default:
			c.TicketKeys[name] = e.value.TicketKeys
		}
	}
	return c
}

func values[T any](active map[string]*entry[T]) map[string]T {
	out := make(map[string]T, len(active))
	for name, e := range active {
		out[name] = e.value
	}
	return out
}

// equal compares by identity: a part that did not change is the same object.
func equal(a, b *config.Config) bool {
	return maps.Equal(a.Listeners, b.Listeners) && maps.Equal(a.RouteTables, b.RouteTables) &&
		maps.Equal(a.Clusters, b.Clusters) && maps.Equal(a.Assignments, b.Assignments) && maps.Equal(a.Resolved, b.Resolved) &&
		maps.Equal(a.Certificates, b.Certificates) && maps.Equal(a.TicketKeys, b.TicketKeys) && maps.Equal(a.Validations, b.Validations)
}

// complete tells whether all that was listed serves.
func (a *Assembler) complete() bool {
	return a.listeners.answered && a.clusters.answered &&
		!a.listeners.warming() && !a.clusters.warming() && !a.tables.warming() && !a.hosts.warming()
}
