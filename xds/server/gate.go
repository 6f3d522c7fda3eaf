package server

import (
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// blocked reports whether a listener, a route configuration or a virtual host refers to a cluster that the client was not
// given yet (rule 12). It waits, alone, and the client goes on with the one it has. A virtual host waits for its table, too.
func (st *state) blocked(k *kind, r *snapshot.Resource) bool {
	switch k.URL {
	case resource.ListenerType:
	case resource.RouteType:
		if e := k.peek(r.Name); r.HostsApart() && withoutHosts(&e, r) && st.hostsBlocked(r.Name) {
			return true
		}
	case resource.VirtualHostType:
		if st.of(resource.RouteType).onList(resource.TableOf(r.Name)) {
			return true
		}
	default:
		return false
	}
	for _, name := range r.Refs(resource.ClusterType) {
		if !st.given(name) {
			return true
		}
	}
	return false
}

// given reports whether the client was given a cluster, so that what routes to it may follow on the same stream.
//
// An accepted one is given. Waiting for the verdict costs a round trip, and spares a proxy that refuses the cluster the
// routes to it: they stay parked with it, and the old ones serve on, until it or its company is changed. But Envoy
// withholds the verdict on CDS until all clusters of the response are warm, and one may take its time. So a client
// that has kept silent for st.patience is not waited for: then a cluster is given when it was sent, and its
// endpoints behind it, since Envoy answers 503 for one that is still warming.
//
// A client that does not ask for the cluster, by wildcard or by name, looks after itself: gRPC's ask for routes first,
// and for clusters then.
func (st *state) given(name string) bool {
	cds, eds := st.of(resource.ClusterType), st.of(resource.EndpointType)
	if !cds.requested || !cds.sub.has(name) || cds.target(name) == nil {
		return true
	}
	e := cds.peek(name)
	switch {
	case e.sent == gone: // removed and back again
		return false
	case e.acked != nil && !e.doubtful && !cds.leaving(name):
		return true
	case e.sent == nil: // refused
		return false
	case st.now().Before(cds.overdue(st.patience)):
		return false
	}
	for _, ref := range e.sent.Refs(resource.EndpointType) {
		if it := eds.peek(ref); it.sent == nil || it.sent == gone || !it.sent.Known() {
			return false
		}
	}
	return true
}

// overdue is when the client will have been silent about the oldest response in flight for as long as patience.
func (k *kind) overdue(patience time.Duration) time.Time {
	if len(k.flight) == 0 {
		return time.Time{}
	}
	return k.flight[0].at.Add(patience)
}

// split tells the removals that may be sent from those that must wait, since the client may still be using something
// that refers to them: a listener or route is in use until the client accepted another in its place, and not
// until that was sent; and when it refused the other, it goes on (rule 12).
func (st *state) split(k *kind, names []string) (free, wait []string) {
	used := st.inUse(k, names)
	for _, name := range names {
		if used[name] {
			wait = append(wait, name)
		} else {
			free = append(free, name)
		}
	}
	return free, wait
}

func (st *state) inUse(k *kind, names []string) map[string]bool {
	used := make(map[string]bool, len(names))
	all := false
	for _, url := range referrers[k.URL] {
		from := st.of(url)
		if url == resource.VirtualHostType && !st.delta {
			continue // there are none in state of the world
		}
		if !from.requested {
			// A client that came back says what it has type by type, in the same breath.
			all = all || k.restored && st.now().Before(st.grace)
			continue
		}
		var live map[string]bool // routes that a listener in use refers to
		if url == resource.RouteType || url == resource.VirtualHostType {
			live = st.liveRoutes()
		}
		from.held(func(r *snapshot.Resource) {
			if live != nil && from.target(r.Name) == nil {
				table := r.Name
				if url == resource.VirtualHostType {
					table = resource.TableOf(r.Name)
				}
				if !live[table] {
					return // inert: state of the world cannot remove a route, and nothing leads to this one any more
				}
			}
			if !r.Known() {
				all = true
				return
			}
			for _, ref := range r.Refs(k.URL) {
				used[ref] = true
			}
		})
	}
	if all {
		for _, name := range names {
			used[name] = true
		}
	}
	return used
}

// liveRoutes are the route configurations that the listeners in use refer to. It is never nil.
func (st *state) liveRoutes() map[string]bool {
	live := map[string]bool{}
	st.of(resource.ListenerType).held(func(r *snapshot.Resource) {
		for _, name := range r.Refs(resource.RouteType) {
			live[name] = true
		}
	})
	return live
}
