package server

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// request is a DiscoveryRequest or a DeltaDiscoveryRequest.
type request struct {
	typeURL string
	node    *Node   // nil if absent
	nonce   string  // of the response that it answers
	refused *string // the text of error_detail; nil if there is none: an ACK, or no verdict (rule 2)

	// State of the world.
	names   []string
	version string

	// Delta.
	subscribe, unsubscribe []string
	initial                map[string]string
}

// maxKinds bounds the types that a stream may ask for in vain.
const maxKinds = 32

// state is one stream: what its client wants, has and refused. It is driven by handle and adopt, and asked by next; it
// knows neither gRPC nor goroutines, and only the run loop touches it.
type state struct {
	config
	began time.Time
	grace time.Time // until when a client that came back may be about to say what more it has

	snap  *snapshot.Snapshot
	kinds []*kind // in push order, then unserved ones
	count int     // responses
	whole bool    // it has had virtual hosts in its tables that delta has apart
}

// config is what a state is made with. It is read-only, but for what report says of whole tables.
type config struct {
	delta    bool
	prefix   string        // of the nonces, so that another stream's are never taken for this one's
	maxNames int           // per type
	patience time.Duration // how long a request that must be coming is waited for
	now      func() time.Time
	report   reporter
	unserved func(typeURL string)
}

func newState(c config) *state {
	st := &state{config: c, began: c.now(), grace: c.now().Add(c.patience)}
	for _, t := range resource.PushOrder {
		st.kinds = append(st.kinds, newKind(t, c.delta || t.URL != resource.VirtualHostType))
	}
	return st
}

// kind finds the state of a type, and begins one for a type that Sluice does not serve: to ask for it is no reason to
// end the stream, and the answer is that nothing of it exists.
func (st *state) kind(typeURL string) (*kind, error) {
	for _, k := range st.kinds {
		if k.URL == typeURL {
			return k, nil
		}
	}
	if typeURL == "" {
		return nil, status.Error(codes.InvalidArgument, "type_url: got nothing, want a type on an aggregated stream")
	}
	if len(st.kinds) == maxKinds {
		return nil, status.Errorf(codes.ResourceExhausted, "type_url: got more than %d types on one stream", maxKinds)
	}
	st.unserved(typeURL)
	k := newKind(resource.Type{URL: typeURL, Short: typeURL}, false)
	if st.snap != nil {
		k.set = st.snap.Set(typeURL)
	}
	st.kinds = append(st.kinds, k)
	return k, nil
}

func (st *state) of(typeURL string) *kind {
	for _, k := range st.kinds {
		if k.URL == typeURL {
			return k
		}
	}
	return nil
}

// adopt takes the latest snapshot.
func (st *state) adopt(s *snapshot.Snapshot) {
	if s == nil {
		return
	}
	if !st.delta {
		st.report.whole, st.report.hosts = "", s.Version(resource.VirtualHostType)
		if whole := s.Whole(); whole != s || st.whole {
			st.report.whole = s.Version(resource.RouteType)
			s, st.whole = whole, true
		}
	}
	if s == st.snap {
		return
	}
	st.snap = s
	for _, k := range st.kinds {
		k.adopt(s.Set(k.URL))
	}
	st.relistHosts()
}

// handle takes a request. An error ends the stream.
func (st *state) handle(req *request) error {
	k, err := st.kind(req.typeURL)
	if err != nil {
		return err
	}
	first := !k.requested
	k.requested = true
	if fl := k.find(req.nonce); fl != nil {
		st.resolve(k, fl, req.refused)
	}
	var c change
	if st.delta {
		// A stale nonce does not cancel a change of the subscription (rule 4).
		c = st.update(k, req)
	} else {
		if k.nonce != "" && req.nonce != k.nonce {
			return nil // stale (rule 4): the client will answer the response that is on its way, with its names of then
		}
		if !k.sub.stays(req.names) {
			k.single()
		}
		if slices.Contains(req.names, wildcard) && !k.sub.all {
			k.unfold()
		}
		c = k.sub.set(req.names, k.LegacyWildcard)
		if first && req.version != "" {
			// It has something from an earlier stream. It is sent everything all the same, though the version be the very
			// same: it is the last that the client accepted, and tells neither which names it has of it, nor what took
			// effect of one that it refused after that.
			k.restored, k.unknown = true, k.FullState
		}
		// Full-state types answer every name that is new, though it may not exist (rule 9).
		k.answer = k.answer || k.FullState && c.asked()
	}
	if k.sub.count() > st.maxNames {
		return status.Errorf(codes.ResourceExhausted, "%s: got a subscription to more than %d names", k.Short, st.maxNames)
	}
	if first {
		k.claimed = sizeOf(req.initial)
	}
	if st.size() > maxNamesBytes {
		return status.Errorf(codes.ResourceExhausted, "got names and versions of more than %d bytes on one stream", maxNamesBytes)
	}
	st.subscribed(k, c, first, req.initial)
	return nil
}

func (st *state) update(k *kind, req *request) change {
	if len(req.subscribe)+len(req.unsubscribe) > 0 {
		k.single()
	}
	if slices.Contains(req.subscribe, wildcard) && !k.sub.all {
		k.unfold()
	}
	c := k.sub.update(req.subscribe, req.unsubscribe, k.LegacyWildcard)
	// A client that begins with a wildcard waits for an answer, even if there is nothing; one that comes back does not.
	k.answer = k.answer || c.widened && len(req.initial) == 0
	return c
}

// subscribed puts on the list what a change of the subscription asks for.
func (st *state) subscribed(k *kind, c change, first bool, initial map[string]string) {
	fresh, all := c.fresh, c.wildcard && k.set != nil
	if first {
		k.askedFirst(initial)
		if (st.delta || !k.restored) && k.begin(c, initial) {
			fresh, all, initial = nil, false, nil
		}
	}
	k.room(len(fresh))
	entries := make([]entry, len(fresh))
	for i, name := range fresh {
		if k.sub.has(name) {
			k.entries[name] = &entries[i]
			k.todo[name] = true
			if first && !st.delta && k.restored && !k.FullState {
				// It may have this, in some version, from an earlier stream. It is sent all the same.
				r := snapshot.Claimed(name, "")
				*k.entries[name] = entry{acked: r, sent: r}
			}
		}
	}
	for _, name := range c.again {
		if _, has := initial[name]; !(first && has) {
			k.todo[name] = true
		}
	}
	for _, name := range c.released {
		k.todo[name] = true
	}
	if all {
		k.room(k.set.Len())
		entries := make([]entry, k.set.Len())
		for i, r := range k.set.All() {
			if c.widened && !k.sub.explicit(r.Name) {
				k.entries[r.Name] = &entries[i]
			}
			k.todo[r.Name] = k.todo[r.Name] || !c.widened
		}
	}
	if first && st.delta {
		for name, version := range initial {
			if k.sub.has(name) {
				k.restored = true
				r := snapshot.Claimed(name, version)
				k.entries[name] = &entry{acked: r, sent: r}
				k.todo[name] = false // as it has it, it is not sent again (rule 5), unless it is owed
			}
		}
	}
	if c.asked() {
		for name := range k.owed {
			if k.sub.has(name) {
				delete(k.owed, name)
				if !k.fresh { // else it is on the list
					k.todo[name] = true
				}
			}
		}
	}
	if c.shrunk {
		k.forget()
	}
	if st.delta && k.URL == resource.RouteType {
		st.tablesSubscribed(c)
	}
}

// size is what the client made the stream remember, in bytes: the names of its subscriptions, and what it said that it has.
func (st *state) size() (n int) {
	for _, k := range st.kinds {
		n += k.sub.id.bytes + k.claimed
	}
	return n
}

func sizeOf(versions map[string]string) (n int) {
	for name, version := range versions {
		n += len(name) + len(version)
	}
	return n
}

func orGone(r *snapshot.Resource) *snapshot.Resource {
	if r == nil {
		return gone
	}
	return r
}

func (st *state) nextNonce() string {
	st.count++
	return fmt.Sprintf("%s-%s", st.prefix, strconv.Itoa(st.count))
}
