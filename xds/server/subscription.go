package server

import "slices"

// wildcard is the name that subscribes to everything of a type.
const wildcard = "*"

// subscription is what a client wants of one type on one stream: the algebra of rule 6, for both protocols. It is pure.
type subscription struct {
	// all: a wildcard holds, given as "*" or as the legacy one.
	all bool
	// names are given explicitly; the value is the last request of state of the world that named it. Beside them are those of
	// common but for the dropped ones, which settled streams have in common: see share.
	names   map[string]uint32
	common  *nameSet
	dropped map[string]struct{}
	id      nameID // of all of these
	// started: there was a request. The legacy wildcard of delta is taken by the first one only.
	started bool
	// named: a name, which "*" is too, was given once. The legacy wildcard of state of the world is gone for good.
	named bool
	round uint32
	// intern exchanges a name for an equal one that is kept anyway; nil for none.
	intern func(string) string
}

// change is what one request did to a subscription.
type change struct {
	// fresh are the names that were not covered before, neither by name nor by a wildcard.
	fresh []string
	// again are the names asked for that were covered already: the client may have forgotten them (rule 5).
	again []string
	// wildcard: it was given by this request. It was there before if widened is false.
	wildcard bool
	// widened: the wildcard is new.
	widened bool
	// released are the names that were unsubscribed while the wildcard holds (rule 7).
	released []string
	// shrunk: some names are no longer covered.
	shrunk bool
}

// asked reports whether the request asked for anything that it did not have.
func (c *change) asked() bool { return len(c.fresh) > 0 || len(c.again) > 0 || c.wildcard }

// has reports whether a name is covered.
func (s *subscription) has(name string) bool {
	return s.all || s.explicit(name)
}

// explicit reports whether a name is covered by itself.
func (s *subscription) explicit(name string) bool {
	if _, ok := s.names[name]; ok || s.common == nil {
		return ok
	}
	if _, gone := s.dropped[name]; gone {
		return false
	}
	_, ok := s.common.set[name]
	return ok
}

// count is how many names are given explicitly.
func (s *subscription) count() int { return s.id.count }

// empty reports whether nothing is covered.
func (s *subscription) empty() bool { return !s.all && s.count() == 0 }

// set takes the full list of a state-of-the-world request. An empty list is the wildcard if the type has a legacy one
// and no name was ever given; after that it is nothing.
func (s *subscription) set(names []string, legacy bool) (c change) {
	s.started = true
	s.round++
	before := *s
	s.named = s.named || len(names) > 0
	s.all = slices.Contains(names, wildcard) || legacy && !s.named
	if s.common != nil && s.repeats(names) {
		c.widened = s.all && !before.all
		c.wildcard = c.widened
		c.shrunk = before.all && !s.all
		return c
	}
	if !s.all && !before.all && s.adopt(names) {
		c.fresh = names
		return c
	}
	s.unshare()
	distinct := 0
	for _, name := range names {
		if name == wildcard {
			continue
		}
		round, known := s.names[name]
		switch {
		case known && round == s.round: // stands twice in this request
			continue
		case known:
		case before.all:
			c.again = append(c.again, name)
		default:
			c.fresh = append(c.fresh, name)
		}
		s.remember(name)
		distinct++
	}
	if distinct < len(s.names) {
		for name, round := range s.names {
			if round != s.round {
				s.forget(name)
			}
		}
		c.shrunk = !s.all
	}
	c.widened = s.all && !before.all
	c.wildcard = c.widened
	c.shrunk = c.shrunk || before.all && !s.all
	return c
}

// update takes the additions and removals of a delta request. A first request without additions is the legacy wildcard,
// if the type has one; names on top of it leave it in force, and only an unsubscribed "*" ends it.
func (s *subscription) update(subscribe, unsubscribe []string, legacy bool) (c change) {
	before := *s
	if !s.started && len(subscribe) == 0 && legacy {
		s.all = true
	}
	s.started = true
	s.named = s.named || len(subscribe) > 0
	fresh := subscribe
	if !s.all && s.adopt(subscribe) {
		c.fresh, fresh = subscribe, nil
	}
	seen := make(map[string]struct{}, len(fresh))
	if s.names == nil {
		s.names = make(map[string]uint32, len(fresh))
	}
	for _, name := range fresh {
		if _, twice := seen[name]; twice {
			continue
		}
		seen[name] = struct{}{}
		switch {
		case name == wildcard:
			s.all = true
			c.wildcard = true
			continue
		case before.has(name):
			c.again = append(c.again, name)
		default:
			c.fresh = append(c.fresh, name)
		}
		s.remember(name)
	}
	for _, name := range unsubscribe {
		if name == wildcard {
			c.shrunk = c.shrunk || s.all
			s.all = false
			continue
		}
		if s.explicit(name) {
			s.forget(name)
			c.shrunk = true
		}
		c.released = append(c.released, name)
	}
	c.wildcard = s.all && (c.wildcard || !before.all)
	c.widened = s.all && !before.all
	if !s.all {
		c.released = nil
	}
	return c
}

// remember adds a name, or notes that it was named again.
func (s *subscription) remember(name string) {
	if _, own := s.names[name]; !own {
		if s.explicit(name) {
			return // it is one of common, where no round is kept: only delta gets here
		}
		s.id.add(name)
		if s.common != nil {
			if _, back := s.dropped[name]; back {
				delete(s.dropped, name)
				return
			}
		}
		if s.intern != nil {
			name = s.intern(name)
		}
	}
	if s.names == nil {
		s.names = map[string]uint32{}
	}
	s.names[name] = s.round
}

// forget takes a name out that is explicit.
func (s *subscription) forget(name string) {
	s.id.remove(name)
	if _, own := s.names[name]; own {
		delete(s.names, name)
		return
	}
	if s.dropped == nil {
		s.dropped = map[string]struct{}{}
	}
	s.dropped[name] = struct{}{}
}

// repeats tells whether a list has just the names that are there.
func (s *subscription) repeats(list []string) bool {
	var id nameID
	seen := 0
	for _, name := range list {
		if name == wildcard {
			continue
		}
		if !s.explicit(name) {
			return false
		}
		id.add(name)
		seen++
	}
	return seen == s.count() && id == s.id // with one of them twice, and another not at all, the sum would be another
}

// Sets of at least this many names are shared, and streams whose names differ by less go on from the set that they have.
// Tests have less.
var leastShared, mostOwn = 64, 64

// stays reports whether a list of state of the world certainly changes nothing.
func (s *subscription) stays(names []string) bool {
	if len(names) == 0 {
		return s.started && !s.named
	}
	return s.common != nil && s.repeats(names) && s.all == slices.Contains(names, wildcard)
}

// adopt takes the names of a client that has named none before, if they are many, from a set that other streams have, too. Where
// one stands twice, or is the wildcard, it does nothing.
func (s *subscription) adopt(names []string) bool {
	if len(names) < leastShared || s.count() > 0 {
		return false
	}
	var id nameID
	for _, name := range names {
		id.add(name)
	}
	set := shared.get(id, func() map[string]struct{} {
		set := make(map[string]struct{}, len(names))
		for _, name := range names {
			if s.intern != nil {
				name = s.intern(name)
			}
			set[name] = struct{}{}
		}
		if _, all := set[wildcard]; all || len(set) < len(names) {
			return nil
		}
		return set
	})
	if set == nil {
		return false
	}
	s.id, s.common, s.names, s.dropped = id, set, nil, nil
	return true
}

// share exchanges the names for a set that other streams have, too. It is for a stream that has settled: what changes
// afterwards is kept beside the set.
func (s *subscription) share() {
	own := len(s.names) + len(s.dropped)
	if s.count() < leastShared || own == 0 || s.common != nil && own <= mostOwn {
		return
	}
	s.common = shared.get(s.id, func() map[string]struct{} {
		set := make(map[string]struct{}, s.count())
		for name := range s.each {
			set[name] = struct{}{}
		}
		return set
	})
	s.names, s.dropped = nil, nil
}

// unshare takes the names back as the stream's own.
func (s *subscription) unshare() {
	if s.common == nil {
		return
	}
	own := make(map[string]uint32, s.count())
	for name := range s.each {
		own[name] = s.round - 1
	}
	s.names, s.common, s.dropped = own, nil, nil
}

// each calls yield with all explicit names.
func (s *subscription) each(yield func(string) bool) {
	for name := range s.names {
		if !yield(name) {
			return
		}
	}
	if s.common == nil {
		return
	}
	for name := range s.common.set {
		if _, gone := s.dropped[name]; !gone && !yield(name) {
			return
		}
	}
}
