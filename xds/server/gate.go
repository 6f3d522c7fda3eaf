package server

import (
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// blocked reports whether a listener or a route configuration refers to a cluster that the client was not given yet
// (rule 12). It waits, alone, and the client goes on with the one it has.
func (st *state) blocked(k *kind, r *snapshot.Resource) bool {
	if k.URL != resource.ListenerType && k.URL != resource.RouteType {
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
// An accepted one is given. One that is in flight is given when its endpoints were sent behind it: Envoy answers 503 for
// a cluster that is still warming, and withholds its verdict on CDS until then, so waiting for endpoints is needed and
// waiting for the verdict would be too much. One that was refused, and never accepted, is not: its routes stay
// parked with it, and the old ones serve on, until it or its company is changed. A client that does not ask for the
// cluster, by wildcard or by name, looks after itself: gRPC's ask for routes first, and for clusters then.
func (st *state) given(name string) bool {
	cds, eds := st.of(resource.ClusterType), st.of(resource.EndpointType)
	if !cds.requested || !cds.sub.has(name) || cds.target(name) == nil {
		return true
	}
	e := cds.peek(name)
	switch {
	case e.sent == gone: // removed and back again
		return false
	case e.acked != nil:
		return true
	case e.sent == nil:
		return false
	}
	for _, ref := range e.sent.Refs(resource.EndpointType) {
		if it := eds.peek(ref); it.sent == nil || it.sent == gone {
			return false
		}
	}
	return true
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
		if !from.requested {
			// A client that came back says what it has type by type, in the same breath.
			all = all || k.restored && st.now().Before(st.grace)
			continue
		}
		var live map[string]bool // routes that a listener in use refers to
		if url == resource.RouteType {
			live = st.liveRoutes()
		}
		from.held(func(r *snapshot.Resource) {
			if !r.Known() {
				all = true
				return
			}
			if live != nil && from.target(r.Name) == nil && !live[r.Name] {
				return // inert: state of the world cannot remove a route, and nothing leads to this one any more
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
