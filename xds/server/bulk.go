package server

import (
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// A client that connects anew has nothing of a type, and wants all of it; and a thousand of them do so at once (rule 17). On
// the way there its names need neither entries nor places on the list, since the same holds for all of them:
//
//   - kind.fresh: it has nothing, and all of kind.set is on the list;
//   - kind.coming: all of that is in flight, in one response, and nothing else of it is;
//   - kind.base: it has accepted it, on this stream or an earlier one.
//
// What cannot be said of all of them ends this: single gives each name what it has of its own, and it goes on from there.

// leastFresh is the number of resources from which on this is worth it. Tests have less.
var leastFresh = 64

// begin notes that a client which asks for a type for the first time wants all that there is of it, if that is so: and that it
// has all of it, if it says so.
func (k *kind) begin(c change, initial map[string]string) bool {
	if k.set == nil {
		return false
	}
	n := k.set.Len()
	if n < leastFresh || k.base != nil || len(k.entries)+len(k.todo)+len(k.flight)+len(k.doubts) > 0 {
		return false
	}
	if len(initial) > 0 {
		return k.resume(initial)
	}
	switch {
	case c.widened && k.sub.count() == 0:
	case !k.sub.all && k.sub.count() == n && len(c.fresh) == n:
		for _, name := range c.fresh {
			if k.set.Get(name) == nil {
				return false
			}
		}
	default:
		return false
	}
	k.fresh = true
	return true
}

// resume takes the word of a client that has all that there is from an earlier stream, and wants it still (rule 10): after a
// restart of the control plane that is what most say.
func (k *kind) resume(initial map[string]string) bool {
	if len(initial) != k.set.Len() || len(k.owed) > 0 {
		return false
	}
	for _, r := range k.set.All() {
		if initial[r.Name] != r.Version || !k.sub.has(r.Name) {
			return false
		}
	}
	if !k.sub.all && k.sub.count() != k.set.Len() {
		return false
	}
	k.restored, k.base = true, k.set
	return true
}

// onList reports whether a name is on the list.
func (k *kind) onList(name string) bool {
	_, ok := k.todo[name]
	return ok || k.fresh && k.sub.has(name)
}

// idle reports whether nothing is on the list.
func (k *kind) idle() bool { return len(k.todo) == 0 && !k.fresh }

// single gives each name an entry, and its place on the list or in its response, if it has none since all are alike.
func (k *kind) single() {
	switch {
	case k.fresh:
		k.fresh = false
		k.room(k.set.Len())
		entries := make([]entry, k.set.Len())
		for i, r := range k.set.All() {
			k.entries[r.Name] = &entries[i]
			k.todo[r.Name] = !k.sub.all
		}
	case k.coming != nil:
		all := k.coming.All()
		entries, items := make([]entry, len(all)), make([]item, len(all))
		for i, r := range all {
			items[i] = item{r.Name, r}
			if k.entries[r.Name] == nil && k.sub.has(r.Name) {
				entries[i].sent = r
				k.entries[r.Name] = &entries[i]
			}
		}
		for _, fl := range k.flight {
			if fl.all != nil {
				fl.all, fl.items = nil, items
			}
		}
		k.coming = nil
	}
}

// composeAll makes a response of all that is wanted of a type of which the client has nothing. It is nil if not all of it may be
// sent now, in one.
func (st *state) composeAll(k *kind) *message {
	all := k.set.All()
	size, table, tables := 0, "", 0
	for _, r := range all {
		if st.blocked(k, r) || k.URL == resource.VirtualHostType && !st.wanted(k, r.Name) {
			return nil
		}
		size += r.Size()
		if t := resource.TableOf(r.Name); tables == 0 || t != table {
			table = t
			tables++
		}
	}
	if (st.delta || !k.FullState) && size > maxMessage && (k.URL != resource.VirtualHostType || tables > 1) { // see plan
		return nil
	}
	st.oweAll(k, all)
	m := &message{typeURL: k.URL, version: k.set.Version(), first: k.nonce == "", resources: all, all: k.set}
	k.fresh, k.coming = false, k.set
	st.book(k, m, &flight{all: k.set})
	return m
}

// oweAll is owe for all of a type.
func (st *state) oweAll(k *kind, all []*snapshot.Resource) {
	for _, url := range followers[k.URL] {
		to := st.of(url)
		if url == resource.EndpointType && !to.requested { // each cluster has its own
			to.owedAll, to.owedUntil = true, st.now().Add(st.patience)
			continue
		}
		for _, r := range all {
			st.oweTo(to, r.Refs(url))
		}
	}
	for _, r := range all {
		if r.HostsApart() {
			st.oweHosts(r.Name)
		}
	}
}

// askedFirst takes what is owed of all that there is: what the client says that it has of it is not spared, and what it has not
// asked for yet it is about to.
func (k *kind) askedFirst(initial map[string]string) {
	if !k.owedAll {
		return
	}
	k.owedAll = false
	for _, r := range k.set.All() {
		if _, has := initial[r.Name]; has || !k.sub.has(r.Name) {
			k.owed[r.Name] = struct{}{}
		}
	}
}
