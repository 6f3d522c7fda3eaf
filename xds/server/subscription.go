package server

import "slices"

// wildcard is the name that subscribes to everything of a type.
const wildcard = "*"

// subscription is what a client wants of one type on one stream: the algebra of rule 6, for both protocols. It is pure.
type subscription struct {
	// all: a wildcard holds, given as "*" or as the legacy one.
	all bool
	// names are given explicitly; the value is the last request of state of the world that named it.
	names map[string]uint32
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
	if s.all {
		return true
	}
	_, ok := s.names[name]
	return ok
}

// explicit reports whether a name is covered by itself.
func (s *subscription) explicit(name string) bool {
	_, ok := s.names[name]
	return ok
}

// empty reports whether nothing is covered.
func (s *subscription) empty() bool { return !s.all && len(s.names) == 0 }

// set takes the full list of a state-of-the-world request. An empty list is the wildcard if the type has a legacy one
// and no name was ever given; after that it is nothing.
func (s *subscription) set(names []string, legacy bool) (c change) {
	s.started = true
	s.round++
	before := *s
	s.named = s.named || len(names) > 0
	s.all = slices.Contains(names, wildcard) || legacy && !s.named
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
				delete(s.names, name)
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
	seen := make(map[string]struct{}, len(subscribe))
	for _, name := range subscribe {
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
		if _, ok := s.names[name]; ok {
			delete(s.names, name)
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

func (s *subscription) remember(name string) {
	if s.names == nil {
		s.names = map[string]uint32{}
	}
	if _, known := s.names[name]; !known && s.intern != nil {
		name = s.intern(name)
	}
	s.names[name] = s.round
}
