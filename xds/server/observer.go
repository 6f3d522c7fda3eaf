package server

import (
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// StreamID names a stream for as long as the server runs. IDs are not used again.
type StreamID uint64

// Node is who the client says that it is, in the first request of a stream.
type Node struct {
	// ID is the proxy; it is never empty.
	ID string
	// Cluster is the fleet: "default" if the client named none.
	Cluster string
	// Agent and Version are the client's software, "envoy" and "1.40.0"; empty if it does not say.
	Agent, Version string
	// Features is what it says that it takes, as package features reads it; empty if it does not say.
	Features string
}

// Observer is told what happens on the streams. Calls for one stream come one after another, in order; those for
// several come concurrently. It must not block.
type Observer interface {
	// StreamOpened comes first; peer is the remote address.
	StreamOpened(id StreamID, peer string)
	// StreamClosed comes last.
	StreamClosed(id StreamID)
	// Node comes once, after the first request was found to be allowed.
	Node(id StreamID, n Node)
	// Sent says that the client was sent all that it wants of this aggregate version of the type's resources, and has
	// not answered yet. If a version changed nothing that the client wants, Sent and Acked follow at once.
	Sent(id StreamID, typeURL, version string)
	// Acked says that it accepted all that it wants of this version. Neither is called for what is sent on the way to
	// a version, such as the half with which a removal still waits.
	Acked(id StreamID, typeURL, version string)
	// Nacked says that it refused something of this version; message is its own text.
	Nacked(id StreamID, typeURL, version, message string)
}

// Withholder is what an Observer may also be: it is told when a stream has come to rest though not all of a version was
// sent, since something of it was refused before and did not change. Without it such a version would have no verdict.
type Withholder interface {
	// Withheld says that the type is at rest, and that something of this version stays refused.
	Withheld(id StreamID, typeURL, version string)
}

// reporter tells the observer about one stream.
type reporter struct {
	id       StreamID
	observer Observer                                          // nil for none
	refusals func(id StreamID, typeURL string, names []string) // nil for none
	// whole is the version of RDS with which the client has the virtual hosts, too, in theirs: state of the world has no VHDS.
	whole, hosts string
}

func (r reporter) sent(k *kind, version string) {
	k.sentVersion = version
	if r.observer != nil && k.served {
		r.observer.Sent(r.id, k.URL, version)
		if r.isWhole(k, version) {
			r.observer.Sent(r.id, resource.VirtualHostType, r.hosts)
		}
	}
}

func (r reporter) accepted(k *kind, version string) {
	k.ackedVersion, k.withheldVersion = version, ""
	if r.observer != nil && k.served {
		r.observer.Acked(r.id, k.URL, version)
		if r.isWhole(k, version) {
			r.observer.Acked(r.id, resource.VirtualHostType, r.hosts)
		}
	}
}

func (r reporter) isWhole(k *kind, version string) bool {
	return k.URL == resource.RouteType && r.whole != "" && version == r.whole
}

func (r reporter) acked(k *kind, fl *flight) {
	if fl.whole && len(k.doubts) == 0 { // a response before it may have been refused since
		r.accepted(k, fl.version)
	}
}

func (r reporter) refused(k *kind, names []string) {
	if r.refusals != nil && k.served {
		r.refusals(r.id, k.URL, names)
	}
}

func (r reporter) nacked(k *kind, fl *flight, message string) {
	k.sentVersion, k.ackedVersion = "", "" // whatever comes next is news again
	if r.observer != nil && k.served {
		r.observer.Nacked(r.id, k.URL, fl.version, message)
	}
}

func (r reporter) withheld(k *kind, version string) {
	if k.withheldVersion == version {
		return
	}
	k.withheldVersion = version
	if o, ok := r.observer.(Withholder); ok && k.served {
		o.Withheld(r.id, k.URL, version)
	}
}

// settle tells the observer which types have come to rest, and lets go of what is remembered on the way there. It
// returns when to look again, though nothing happened; the zero time for never.
func (st *state) settle() (wake time.Time) {
	now := st.now()
	later := func(t time.Time) {
		if wake.IsZero() || t.Before(wake) {
			wake = t
		}
	}
	verdict := st.of(resource.ClusterType).overdue(st.patience)
	for _, k := range st.kinds {
		if (k.URL == resource.ListenerType || k.URL == resource.RouteType || k.URL == resource.VirtualHostType) && !k.idle() && now.Before(verdict) {
			later(verdict) // see given
		}
		if k.restored && len(k.todo) > 0 && now.Before(st.grace) {
			later(st.grace)
		}
		if !k.complete() {
			if k.withheld() {
				st.report.withheld(k, k.set.Version())
			}
			continue
		}
		if len(k.owed) > 0 && now.Before(k.owedUntil) {
			later(k.owedUntil) // it was just sent what makes it ask for these
			continue
		}
		if version := k.set.Version(); k.sentVersion != version || k.ackedVersion != version {
			st.report.sent(k, version)
			st.report.accepted(k, version)
		}
		k.fold()
	}
	return wake
}
