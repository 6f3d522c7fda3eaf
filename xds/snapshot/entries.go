package snapshot

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/xds/resource"
	"google.golang.org/protobuf/proto"
)

// Entry is a resource that is made where it is needed.
type Entry struct {
	Name string
	// Key, if not nil, stands for all that the message is made of, but for its name: while it equals that of the resource of
	// this name before, that resource stays, and Make is not called. It is comparable.
	Key any
	// Make is pure, and is given the entry. The message is not kept.
	Make func(Entry) (proto.Message, error)
}

// making makes the resources of one type out of entries, beside those of before.
type making struct {
	typ resource.Type
	was *Set
	all []*Resource // sorted
	// keyed: all entries had a key.
	keyed bool
	errs  []error
}

// isFrom says whether this very list became the set, and nothing else.
func (s *Set) isFrom(list []Entry) bool {
	return len(list) > 0 && list[0].Key != nil && len(s.from) == len(list) && &s.from[0] == &list[0]
}

// at says whether the set was built from an entry at that place that is known to be the same. Without keys nobody looks: a plan
// is made beside what is served, whose lists are the builder's.
func (s *Set) at(i int, e *Entry) bool {
	return i < len(s.from) && s.from[i].Key == e.Key && s.from[i].Name == e.Name
}

// make makes them of a list that is sorted by name, in one walk beside what was. False: it is not sorted.
func (m *making) make(list []Entry) bool {
	m.all, m.keyed, m.errs = make([]*Resource, 0, len(list)), true, nil
	before := m.was.all
	next := 0 // of before
	last := ""
	for i := range list {
		e := &list[i]
		if e.Key != nil && m.was.at(next, e) {
			m.all, last = append(m.all, before[next]), e.Name // most often
			next++
			continue
		}
		switch {
		case i > 0 && e.Name < last:
			return false
		case i > 0 && e.Name == last:
			m.errs = append(m.errs, fmt.Errorf("snapshot: %s %q: stands twice", m.typ.Short, e.Name))
			continue
		}
		m.keyed, last = m.keyed && e.Key != nil, e.Name
		for next < len(before) && before[next].Name < e.Name {
			next++
		}
		var old *Resource
		if next < len(before) && before[next].Name == e.Name {
			old = before[next]
			next++
		}
		r, err := e.build(m.typ, old)
		if err != nil {
			m.errs = append(m.errs, err)
			continue
		}
		m.all = append(m.all, r)
	}
	return true
}

// makeAll makes the resources of a type, and says whether the list can be known again.
func makeAll(t resource.Type, list []Entry, was *Set) (all []*Resource, known bool, errs []error) {
	if was.isFrom(list) {
		return was.all, true, nil
	}
	m := making{typ: t, was: was}
	if m.make(list) {
		return m.all, m.keyed && len(m.all) == len(list), m.errs
	}
	m.make(slices.SortedStableFunc(slices.Values(list), func(a, b Entry) int { return strings.Compare(a.Name, b.Name) }))
	return m.all, false, m.errs
}

// build makes a resource, or takes the one before.
func (e Entry) build(t resource.Type, old *Resource) (*Resource, error) {
	if old != nil && e.Key != nil && old.key == e.Key {
		return old, nil
	}
	m, err := e.Make(e)
	if err != nil {
		return nil, err
	}
	r, err := build(t, e.Name, m, old)
	if err != nil || e.Key == nil {
		return r, err
	}
	r.key = e.Key // also of the one before, if its content is the same: it is known by this from now on
	return r, nil
}
