package server

import (
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// VHDS, as stock Envoy 1.40 was seen to do it (rules 12 and 13):
//
//   - It asks once on a stream, with the legacy wildcard, when the first table by VHDS has come, and never names a table. What
//     comes for a table that it has not got is accepted and lost. So hosts are sent with their table and behind it, though
//     they were sent before, and a table that it asks for anew gets its hosts anew.
//   - A table is warming, and its listener with it, until something of it comes: a host, or the removal of one, which need not
//     have been there. An empty response is nothing. After 15 s it goes on without any. So a table's first hosts come in
//     one response, however large, and not before the clusters of all of them are there.
//   - A listener that goes drains with its hosts for as long as it has them: they are removed when the client gives the table
//     up, which Envoy does after the draining.
//   - A response is refused as a whole, and the tables that were not at fault may have it all the same.

// withoutHosts reports whether a client that has e of a table has no hosts of it, or may have forgotten them, when it is sent r.
func withoutHosts(e *entry, r *snapshot.Resource) bool {
	return e.sent == nil || e.sent == gone || !e.sent.HostsApart() && e.sent.Version != r.Version
}

// oweHosts has a table's hosts sent, though they were before.
func (st *state) oweHosts(table string) {
	k := st.of(resource.VirtualHostType)
	if k.fresh {
		return // they are on the list
	}
	for _, r := range k.set.Hosts(table) {
		if k.requested && k.sub.has(r.Name) {
			k.todo[r.Name] = true
		} // else they come with its first request, behind which nothing is held to be there
	}
}

// tablesRefused has the hosts of refused tables sent again behind the ones that were sent since: what came in between was lost,
// unless there was a table that it could go to.
func (st *state) tablesRefused(k *kind, fl *flight) {
	if !st.delta || k.URL != resource.RouteType {
		return
	}
	for _, it := range fl.items {
		if e := k.peek(it.name); it.res.HostsApart() && e.sent != nil && e.sent != it.res && (e.acked == nil || !e.acked.HostsApart()) {
			st.oweHosts(it.name)
		}
	}
}

// tablesSubscribed looks at the hosts of tables that the client asks for, or gave up.
func (st *state) tablesSubscribed(c change) {
	k := st.of(resource.VirtualHostType)
	if !k.requested || k.set == nil {
		return
	}
	if len(c.again)+len(c.fresh) > 0 || c.shrunk {
		k.single()
	}
	rds := st.of(resource.RouteType)
	for _, table := range c.again {
		if e := rds.entries[table]; e != nil {
			e.sent = nil // the client may have forgotten it, and its hosts
		} else if is := rds.peek(table); is.acked != nil {
			rds.entries[table] = &entry{acked: is.acked}
		}
	}
	for _, table := range c.fresh {
		for _, r := range k.set.Hosts(table) {
			if k.sub.has(r.Name) {
				k.entry(r.Name)
				k.list(r.Name)
			}
		}
	}
	if c.shrunk {
		k.unfold()
		for name, e := range k.entries {
			switch {
			case rds.sub.has(resource.TableOf(name)) || k.sub.explicit(name):
			case k.target(name) == nil:
				k.list(name)
			default:
				*e = entry{} // it is gone with its table, and comes again with it
			}
		}
	}
}

// wanted reports whether the client has the host's table, or asks for it: or asks for the host by name.
func (st *state) wanted(k *kind, name string) bool {
	return k.sub.explicit(name) || st.of(resource.RouteType).sub.has(resource.TableOf(name))
}

// outlived reports whether the host went with its table, which the client has not given up yet: its listener drains.
func (st *state) outlived(name string) bool {
	rds, table := st.of(resource.RouteType), resource.TableOf(name)
	return rds.target(table) == nil && rds.sub.has(table)
}

// relistHosts looks again at hosts that outlived their table: if it is back, and they are not, they must go.
func (st *state) relistHosts() {
	k := st.of(resource.VirtualHostType)
	for name := range k.entries {
		if k.target(name) == nil && !st.outlived(name) {
			k.list(name)
		}
	}
}

// hostsBlocked reports whether a host of the table refers to a cluster that the client was not given yet.
func (st *state) hostsBlocked(table string) bool {
	for _, r := range st.snap.Set(resource.VirtualHostType).Hosts(table) {
		for _, name := range r.Refs(resource.ClusterType) {
			if !st.given(name) {
				return true
			}
		}
	}
	return false
}
