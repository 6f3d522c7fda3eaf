package server

import (
	"maps"
	"slices"
)

// What becomes of a response that was answered: what the client has then, and what is in doubt.

// find is the response in flight with this nonce.
func (k *kind) find(nonce string) *flight {
	for _, fl := range k.flight {
		if fl.nonce == nonce {
			return fl
		}
	}
	return nil
}

// land takes a response out of the air. In state of the world a client may answer only the last of several (Envoy does,
// when it paused the type), so the earlier ones are settled with it: several are in flight only where each is the full
// state, so that the last says all that they said.
func (st *state) land(k *kind, fl *flight) {
	i := slices.Index(k.flight, fl)
	if st.delta {
		k.flight = slices.Delete(k.flight, i, i+1)
		return
	}
	for _, earlier := range k.flight[:i] {
		k.doubt(earlier) // of no consequence if the last is accepted, for that says it all
	}
	k.flight = slices.Delete(k.flight, 0, i+1)
}

// resolve takes the verdict on a response.
func (st *state) resolve(k *kind, fl *flight, refused *string) {
	if fl.all == nil || refused != nil || len(k.entries) > 0 {
		k.single()
	}
	st.land(k, fl)
	if refused == nil {
		if fl.all != nil {
			k.base, k.coming = fl.all, nil
		}
		for _, it := range fl.items {
			k.accept(it)
		}
		k.failed, k.unknown = false, false
		st.report.acked(k, fl)
		return
	}
	st.tablesRefused(k, fl)
	st.report.refused(k, k.refuse(fl, &refusal{text: *refused, at: st.now()}))
	k.failed = k.set != nil && fl.version == k.set.Version()
	st.report.nacked(k, fl, *refused)
}

// doubt notes that a response that was not accepted may have taken effect, in part or as a whole.
func (k *kind) doubt(fl *flight) {
	for _, it := range fl.items {
		if !k.sub.has(it.name) {
			continue
		}
		e := k.entry(it.name)
		switch {
		case it.res == gone:
			e.doubtful = e.acked != nil
		case e.acked != it.res && len(e.maybe) < maxMaybe:
			e.maybe = append(e.maybe, it.res)
		}
		k.look(it)
	}
}

// look has what a response did put right, if it is no longer what is wanted: what is known of the name may have been forgotten
// while the response was in flight, and the change that it came from with it.
func (k *kind) look(it item) {
	if orGone(k.target(it.name)) != it.res {
		k.list(it.name)
	}
}

func (k *kind) accept(it item) {
	if !k.sub.has(it.name) {
		return
	}
	e := k.entry(it.name)
	e.maybe, e.doubtful = nil, false
	e.acked = it.res
	if it.res == gone {
		e.acked = nil
	} else if e.sent == nil {
		e.sent = it.res // refused in one response, accepted in another
	}
	if e.parked == it.res {
		e.parked = nil
	}
	if e.parked == nil { // else it accepted what stands in for the one that it refused
		k.clearDoubt(it.name)
	}
	k.look(it)
}

// refuse parks what a NACK may be about: the resources that the client had not accepted before, or, if it had accepted
// them all, every one. Clients do not reliably say which one it was (rule 21), so all of them are in doubt together. Their
// names are returned.
func (k *kind) refuse(fl *flight, why *refusal) []string {
	k.doubt(fl)
	var doubt []item
	changed := false // one of those in doubt is another by now
	pending := map[item]bool{}
	for _, later := range k.flight {
		for _, it := range later.items {
			pending[it] = true
		}
	}
	for _, it := range fl.items {
		if !k.sub.has(it.name) {
			changed = true // it may have been the one, and is not wanted any more
			continue
		}
		e := k.entry(it.name)
		if e.acked == it.res {
			continue
		}
		if pending[it] { // the verdict on the same in a later response counts
			changed = changed || orGone(k.target(it.name)) != it.res
			continue
		}
		if fl.stands[it.name] {
			if e.sent == it.res {
				e.sent = nil
			}
			changed = true // it may be the one, and will not be sent again
			continue
		}
		if e.sent == it.res {
			doubt = append(doubt, it)
		}
		changed = changed || e.sent != it.res || orGone(k.target(it.name)) != it.res
	}
	if len(doubt) == 0 && len(pending) == 0 {
		for _, it := range fl.items {
			if k.sub.has(it.name) && k.entry(it.name).sent == it.res {
				doubt = append(doubt, it)
			}
		}
	}
	names := map[string]struct{}{}
	for _, it := range doubt {
		e := k.entry(it.name)
		e.sent, e.parked, e.why = nil, it.res, why
		names[it.name] = struct{}{}
	}
	why.items = len(names)
	if len(names) == 0 {
		return nil
	}
	parked := slices.Collect(maps.Keys(names))
	for _, it := range fl.items {
		if pending[it] {
			names[it.name] = struct{}{} // may be the one as well
		}
	}
	k.suspect(names)
	if changed { // the doubt is over before it began
		k.dissolve(func(name string) bool { _, ok := names[name]; return ok })
	}
	return parked
}

// maxDoubts bounds the refused responses that are told apart.
const maxDoubts = 16

// suspect adds a doubt. A name may stand in several.
func (k *kind) suspect(names map[string]struct{}) {
	for _, old := range k.doubts {
		if maps.Equal(old, names) {
			return
		}
	}
	if len(k.doubts) == maxDoubts {
		maps.Copy(k.doubts[0], names)
		return
	}
	k.doubts = append(k.doubts, names)
}

// clearDoubt takes a name out that was accepted.
func (k *kind) clearDoubt(name string) {
	k.doubts = slices.DeleteFunc(k.doubts, func(names map[string]struct{}) bool {
		delete(names, name)
		return len(names) == 0
	})
}
