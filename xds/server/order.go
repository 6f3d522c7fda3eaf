package server

import (
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// message is a response to be.
type message struct {
	typeURL   string
	version   string
	nonce     string
	resources []*snapshot.Resource
	all       *snapshot.Set // which they all are, if they are all of one
	removed   []string      // delta only
	first     bool          // the first of its type on the stream
}

// GetTypeUrl is as DiscoveryResponse has it, for whoever counts what gRPC sends.
func (m *message) GetTypeUrl() string { return m.typeURL }

const (
	// maxFlight is how many responses of one type may wait for their verdict. More than one, since Envoy withholds the
	// one on CDS until its clusters are warm, which must not delay the next edit.
	maxFlight = 8
	// maxMessage is where a delta response is cut, in bytes: gRPC's clients take 4 MiB if nobody told them otherwise.
	maxMessage = 2 << 20
)

// referrers are the types whose resources refer to a type: while one that does so is in use, what it refers to is not
// removed (rule 12).
var referrers = map[string][]string{
	resource.ClusterType:  {resource.ListenerType, resource.RouteType, resource.VirtualHostType},
	resource.EndpointType: {resource.ClusterType},
	resource.SecretType:   {resource.ListenerType, resource.ClusterType},
	resource.RouteType:    {resource.ListenerType},
}

// followers are the types that must be sent again behind a changed resource that refers to them (rule 13).
var followers = map[string][]string{
	resource.ClusterType:  {resource.EndpointType, resource.SecretType},
	resource.ListenerType: {resource.RouteType, resource.SecretType},
}

// limit is how many responses of the type may be in flight. In state of the world a verdict may stand for several
// responses at once, which is only clear where each is the full state.
func (st *state) limit(k *kind) int {
	if st.delta || k.FullState {
		return maxFlight
	}
	return 1
}

// next is the response that may be sent now, nil if there is none; it counts as sent. It is always the first in push
// order that may be sent, whatever came in between: additions from CDS to RDS, then removals from RDS to CDS.
func (st *state) next() *message {
	if st.snap == nil {
		return nil // rule 15
	}
	for _, k := range st.kinds {
		if m := st.compose(k, false); m != nil {
			return m
		}
	}
	for _, k := range slices.Backward(st.kinds) {
		if m := st.compose(k, true); m != nil {
			return m
		}
	}
	return nil
}

// plan is what the names on a kind's list come to.
type plan struct {
	send    []*snapshot.Resource // to be sent now
	absent  []string             // asked for by name, and not there (delta)
	removed []string             // removals that may be sent now
	wait    []string             // removals that may not
}

// compose makes a response of one type. Removals alone make one only in the second pass; but they ride along with
// anything else that is sent. Listeners are never split: a new one may take the address of one that goes.
func (st *state) compose(k *kind, removals bool) *message {
	if k.idle() && !k.answer || len(k.flight) >= st.limit(k) {
		return nil
	}
	if k.fresh {
		if m := st.composeAll(k); m != nil {
			return m
		}
		k.single()
	}
	p := st.plan(k)
	if len(p.send) == 0 && len(p.absent) == 0 && !k.answer &&
		(len(p.removed) == 0 || !removals && k.URL != resource.ListenerType) {
		return nil
	}
	m := &message{typeURL: k.URL, version: k.set.Version(), first: k.nonce == ""}
	var items []item
	if !st.delta && k.FullState {
		m.resources, m.version = st.fullState(k, &p)
		items = k.changes(m.resources, p.removed)
	} else {
		m.resources = p.send
		m.removed = slices.Concat(p.absent, p.removed)
		slices.Sort(m.removed)
		for _, r := range p.send {
			items = append(items, item{r.Name, r})
		}
		for _, name := range m.removed {
			items = append(items, item{name, gone})
		}
	}
	if len(m.resources) >= leastFresh && slices.Equal(m.resources, k.set.All()) {
		m.all = k.set
	}
	st.sent(k, m, items)
	return m
}

// changes are what a full state says that the client did not accept yet.
func (k *kind) changes(all []*snapshot.Resource, removed []string) []item {
	var items []item
	there := make(map[string]struct{}, len(all))
	for _, r := range all {
		there[r.Name] = struct{}{}
		if e := k.peek(r.Name); e.acked != r || e.sent != r {
			items = append(items, item{r.Name, r})
		}
	}
	for _, name := range removed {
		there[name] = struct{}{}
		items = append(items, item{name, gone})
	}
	// An earlier response that removed something may still be in flight: the client may answer both at once.
	for name, e := range k.entries {
		if _, ok := there[name]; !ok && e.sent == gone && (e.acked != nil || k.leaving(name)) {
			items = append(items, item{name, gone})
		}
	}
	return items
}

// sent books a response.
func (st *state) sent(k *kind, m *message, items []item) {
	fl := &flight{items: items}
	for _, it := range items {
		e := k.entry(it.name)
		if it.res != gone && it.res != k.target(it.name) {
			if fl.stands == nil {
				fl.stands = map[string]bool{}
			}
			fl.stands[it.name] = true
		}
		if it.res != gone && e.sent != it.res {
			st.owe(k, it.res)
			if it.res.HostsApart() && withoutHosts(e, it.res) {
				st.oweHosts(it.name)
			}
		}
		e.sent = it.res
		if it.res == orGone(k.target(it.name)) {
			delete(k.todo, it.name)
		}
	}
	for _, r := range m.resources {
		if r == k.target(r.Name) { // sent again as it is
			delete(k.todo, r.Name)
		}
	}
	st.book(k, m, fl)
}

// book puts a response into the air, of which the flight has the items.
func (st *state) book(k *kind, m *message, fl *flight) {
	k.answer = false
	m.nonce = st.nextNonce()
	k.nonce = m.nonce
	fl.nonce, fl.at, fl.version = m.nonce, st.now(), k.set.Version()
	fl.removes = slices.ContainsFunc(fl.items, func(it item) bool { return it.res == gone })
	fl.whole = len(k.todo) == 0 && len(k.doubts) == 0
	k.flight = append(k.flight, fl)
	if fl.whole {
		st.report.sent(k, fl.version)
	}
}

// owe marks what must be sent again behind a changed resource, or it never warms (rule 13).
func (st *state) owe(k *kind, r *snapshot.Resource) {
	for _, url := range followers[k.URL] {
		to := st.of(url)
		st.oweTo(to, r.Refs(url))
	}
}

func (st *state) oweTo(to *kind, names []string) {
	for _, name := range names {
		switch {
		case !to.requested || !to.sub.has(name):
			to.owed[name] = struct{}{}
			to.owedUntil = st.now().Add(st.patience)
		case !to.fresh: // else it is on the list
			to.todo[name] = true
		}
	}
}

// plan goes through the list, and strikes off what needs nothing.
func (st *state) plan(k *kind) (p plan) {
	var gones []string
	size, table := 0, ""
	for _, name := range k.listed() {
		due, target, e := k.todo[name], k.target(name), k.peek(name)
		switch {
		case !k.sub.has(name):
			delete(k.todo, name)
		case target == nil:
			switch {
			case e.void():
				if st.delta && due {
					p.absent = append(p.absent, name) // rule 9
				} else {
					delete(k.todo, name)
				}
			case !st.delta && !k.FullState:
				// Nothing can be said, and the client keeps it; if it comes again it is sent again.
				k.entry(name).sent = nil
				delete(k.todo, name)
			case !due && (e.sent == gone || e.parked == gone):
				delete(k.todo, name)
			case k.URL == resource.VirtualHostType && st.outlived(name):
				delete(k.todo, name)
			default:
				gones = append(gones, name)
			}
		case !due && e.acked != nil && e.acked == e.sent && !e.acked.Known() && e.acked.Version == target.Version:
			// The client said that it has this very content (rule 10).
			*k.entry(name) = entry{acked: target, sent: target}
			delete(k.todo, name)
		case !due && (e.sent == target || e.parked == target):
			delete(k.todo, name)
		case k.URL == resource.VirtualHostType && !st.wanted(k, name):
			delete(k.todo, name)
		case st.blocked(k, target):
		case (st.delta || !k.FullState) && len(p.send) > 0 && size+target.Size() > maxMessage &&
			(k.URL != resource.VirtualHostType || resource.TableOf(name) != table): // a table takes over when its first host comes
		default:
			p.send = append(p.send, target)
			size += target.Size()
			table = resource.TableOf(name)
		}
	}
	if len(gones) > 0 {
		p.removed, p.wait = st.split(k, gones)
	}
	return p
}

// fullState is all of a type that the client should have after this response: the wanted state, except that what it
// refused, and what may not be sent yet, stands as it last accepted it, and that what may not be removed yet stays.
func (st *state) fullState(k *kind, p *plan) ([]*snapshot.Resource, string) {
	exact := k.sub.all
	var all []*snapshot.Resource
	keep := func(name string) {
		exact = false
		e := k.peek(name)
		if e.sent == gone {
			return // the client is about to be without: what it routed to may be gone by now
		}
		for _, r := range []*snapshot.Resource{e.sent, e.acked} {
			if r != nil && r != gone && r.Known() {
				all = append(all, r)
				return
			}
		}
	}
	sending := make(map[string]struct{}, len(p.send))
	for _, r := range p.send {
		sending[r.Name] = struct{}{}
	}
	for _, target := range k.set.All() {
		if !k.sub.has(target.Name) {
			continue
		}
		if _, now := sending[target.Name]; now || k.peek(target.Name).sent == target {
			all = append(all, target)
		} else {
			keep(target.Name)
		}
	}
	for _, name := range p.wait {
		keep(name)
	}
	for name, e := range k.entries {
		if e.parked == gone && k.target(name) == nil && !slices.Contains(p.removed, name) && !slices.Contains(p.wait, name) {
			keep(name)
		}
	}
	if exact {
		return all, k.set.Version()
	}
	slices.SortFunc(all, func(a, b *snapshot.Resource) int { return strings.Compare(a.Name, b.Name) })
	return all, snapshot.Version(all)
}
