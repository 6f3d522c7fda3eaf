package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// State is what a client has of one resource, in the words of CSDS.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/status/v3/csds.proto#enum-service-status-v3-configstatus
type State string

// The states.
const (
	// Synced: what is wanted was accepted.
	Synced State = "SYNCED"
	// NotSent: nothing of it was sent, be it that the client did not ask or that something else comes first.
	NotSent State = "NOT_SENT"
	// Stale: what is wanted was not accepted yet, or not sent yet over an earlier version.
	Stale State = "STALE"
	// Refused: what is wanted stands in a response that the client refused.
	Refused State = "ERROR"
)

// View is what one client has, at one moment.
type View struct {
	Node Node
	// Resources are those that the client has or should have, by type in push order and then by name.
	Resources []ResourceView
}

// ResourceView is what a client has of one resource. Versions are content hashes; "" is none.
type ResourceView struct {
	TypeURL, Name string
	State         State
	// Wanted is the version that is published; none if the resource is to go.
	Wanted string
	// Sent is what was sent last, Accepted what was accepted last.
	Sent, Accepted string
	// Error is the client's own text about the response, where State is Refused. Clients do not reliably say which resource
	// they mean (rule 21): Doubts is how many were in doubt with this one, itself among them.
	Error  string
	Doubts int
	// AcceptedResource and SentResource are those of Accepted and Sent; nil is none.
	AcceptedResource, SentResource *snapshot.Resource
	// Since is when it came to this state. Of what is settled nothing is remembered: for Synced it is when the version was
	// made, or the stream began if that was later.
	Since time.Time
}

// refusal is what a client said of a response.
type refusal struct {
	text  string
	at    time.Time
	items int // the resources in doubt
}

// ErrGone is Inspect's answer for a stream that has ended.
var ErrGone = errors.New("xds server: the stream has ended")

// Inspect asks a stream what its client has. The stream keeps no more for it than it needs itself. Only resources in another
// state than Synced are told if troubled is true.
func (s *Server) Inspect(ctx context.Context, id StreamID, troubled bool) (*View, error) {
	s.mu.Lock()
	asks := s.asks[id]
	s.mu.Unlock()
	if asks == nil {
		return nil, ErrGone
	}
	a := ask{troubled: troubled, answer: make(chan *View, 1)}
	select {
	case asks.questions <- a:
		return <-a.answer, nil // at once
	case <-asks.ended:
		return nil, ErrGone
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Client is a stream whose node is known.
type Client struct {
	ID   StreamID
	Node Node
}

// Clients are all that are connected, by fleet, node id and stream. Two streams may have one node id.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	var out []Client
	for id, a := range s.asks {
		if a.node.ID != "" {
			out = append(out, Client{id, a.node})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b Client) int {
		return cmp.Or(cmp.Compare(a.Node.Cluster, b.Node.Cluster), cmp.Compare(a.Node.ID, b.Node.ID), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// asking is where a stream is asked.
type asking struct {
	questions chan ask
	ended     <-chan struct{}
	node      Node // guarded by Server.mu; empty until it is known
}

type ask struct {
	troubled bool
	answer   chan *View // has room
}

// askable makes a stream known to Inspect until leave is called.
func (s *Server) askable(id StreamID, ended <-chan struct{}) (questions <-chan ask, leave func()) {
	a := &asking{questions: make(chan ask), ended: ended}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks[id] = a
	return a.questions, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.asks, id)
	}
}

// known tells Clients who a stream is.
func (s *Server) known(id StreamID, n Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks[id].node = n
}

// view is what the client has. It reads the state and changes nothing.
func (st *state) view(troubled bool) []ResourceView {
	var out []ResourceView
	for _, k := range st.kinds {
		if !k.served || k.set == nil {
			continue
		}
		from, sent := len(out), k.sentAt()
		tell := func(name string) {
			if v := st.viewOf(k, name, sent); v.State != "" && !(troubled && v.State == Synced) {
				out = append(out, v)
			}
		}
		for _, r := range k.set.All() {
			tell(r.Name)
		}
		for name := range k.entries {
			if k.target(name) == nil {
				tell(name)
			}
		}
		if k.base != nil && k.base != k.set {
			for _, r := range k.base.All() {
				if k.entries[r.Name] == nil && k.target(r.Name) == nil {
					tell(r.Name)
				}
			}
		}
		slices.SortFunc(out[from:], func(a, b ResourceView) int { return cmp.Compare(a.Name, b.Name) })
	}
	return out
}

// viewOf is what the client has of one name, of which sent has when it went out; no State is nothing to tell.
func (st *state) viewOf(k *kind, name string, sent map[string]time.Time) ResourceView {
	target, e := k.target(name), k.peek(name)
	v := ResourceView{TypeURL: k.URL, Name: name, Wanted: versionOf(target), AcceptedResource: e.acked, SentResource: e.sent}
	if e.parked != nil && e.parked == orGone(target) {
		v.SentResource = e.parked
	}
	if v.SentResource == gone {
		v.SentResource = nil
	}
	v.Sent, v.Accepted = versionOf(v.SentResource), versionOf(v.AcceptedResource)
	since := func(t time.Time) {
		if v.Since = st.began; t.After(v.Since) {
			v.Since = t
		}
	}
	if target != nil {
		since(target.Made())
	}
	switch {
	case e.parked != nil && e.parked == orGone(target):
		v.State = Refused
		if e.why != nil {
			v.Error, v.Doubts, v.Since = e.why.text, e.why.items, e.why.at
		}
	case target == nil && (e.void() || !st.delta && !k.FullState): // the latter cannot be removed: the client lets go of it
		v.State = ""
	case target == nil:
		v.State = Stale // its removal was not accepted yet, or waits
		since(sent[name])
	case e.acked != nil && (e.acked == target || !e.acked.Known() && e.acked.Version == target.Version) && e.sent != gone:
		v.State = Synced
	case e.sent != nil && e.sent != gone || e.acked != nil:
		v.State = Stale
		since(sent[name])
	default:
		v.State = NotSent
	}
	return v
}

// sentAt is when the newest response in flight with each name was sent.
func (k *kind) sentAt() map[string]time.Time {
	if len(k.flight) == 0 {
		return nil
	}
	at := map[string]time.Time{}
	for _, fl := range k.flight {
		for _, it := range fl.items {
			at[it.name] = fl.at
		}
		if fl.all != nil {
			for _, r := range fl.all.All() {
				at[r.Name] = fl.at
			}
		}
	}
	return at
}

func versionOf(r *snapshot.Resource) string {
	if r == nil {
		return ""
	}
	return r.Version
}
