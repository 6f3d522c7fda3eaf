package assemble

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/decode"
	"github.com/sluice-proxy/sluice/xds/client"
)

// entry is one accepted version of a resource.
type entry[T any] struct {
	name, version string
	raw           *anypb.Any
	value         T
	static        bool
	updated       time.Time
}

// refusal is the last refused version of a resource.
type refusal struct {
	version string
	raw     *anypb.Any
	err     error
	at      time.Time
}

// set is the resources of one type.
type set[T any] struct {
	// Read-only after newSet.
	word, typeURL string
	decode        func(*anypb.Any) (T, error)

	// latest is what was accepted last, by name; active is what the configuration has of it, or an older version.
	latest, active map[string]*entry[T]
	// refused is what was refused after, or instead of, latest.
	refused map[string]refusal
	// missing are names that do not exist, or did not come in time.
	missing map[string]bool
	// answered: the control plane has sent the type at least once. overdue: it did not in time.
	answered, overdue bool
	// version is the last response's, for people.
	version string
}

func newSet[T any](word, typeURL string, decode func(*anypb.Any) (T, error)) *set[T] {
	return &set[T]{
		word: word, typeURL: typeURL, decode: decode,
		latest: map[string]*entry[T]{}, active: map[string]*entry[T]{},
		refused: map[string]refusal{}, missing: map[string]bool{},
	}
}

// addStatic decodes the bootstrap's.
func (s *set[T]) addStatic(resources []*anypb.Any, now time.Time) error {
	var problems []error
	for _, raw := range resources {
		value, err := s.decode(raw)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		name, err := decode.Name(raw)
		if err == nil && s.latest[name] != nil {
			err = fmt.Errorf("%s %q: stands twice", s.word, name)
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		s.latest[name] = &entry[T]{name: name, raw: raw, value: value, static: true, updated: now}
	}
	return errors.Join(problems...)
}

// update takes a response for all types that need no further judgement.
func (s *set[T]) update(u client.Update, now time.Time, full bool) map[string]error {
	fresh := s.judge(u, now, full)
	s.commit(fresh)
	return s.refusals(u)
}

// judge removes what is removed, decodes what came, and returns the good that differs from what is there. What is
// refused is noted. full: the type's resources exist by themselves; others exist as long as something refers to them,
// and a removal by the control plane alone does not take from a proxy what it still serves with (as in Envoy).
func (s *set[T]) judge(u client.Update, now time.Time, full bool) map[string]*entry[T] {
	s.answered = true
	s.version = u.Version
	for _, name := range u.Removed {
		have := s.latest[name]
		switch {
		case have != nil && have.static:
		case full:
			delete(s.latest, name)
			delete(s.refused, name)
		case u.Expired:
			delete(s.latest, name)
			s.missing[name] = true
		case have == nil:
			s.missing[name] = true
		}
	}
	fresh := map[string]*entry[T]{}
	for _, r := range u.Resources {
		have := s.latest[r.Name]
		if have != nil && have.static {
			s.refuse(r, now, fmt.Errorf("%s %q: got a resource whose name a static one has", s.word, r.Name))
			continue
		}
		if have != nil && bytes.Equal(have.raw.Value, r.Body.Value) {
			// The same again: what runs stays the very same object.
			delete(s.refused, r.Name)
			have.version = r.Version
			continue
		}
		value, err := s.decode(r.Body)
		if err != nil {
			s.refuse(r, now, err)
			continue
		}
		fresh[r.Name] = &entry[T]{name: r.Name, version: r.Version, raw: r.Body, value: value, updated: now}
	}
	return fresh
}

func (s *set[T]) refuse(r client.Resource, now time.Time, err error) {
	s.refused[r.Name] = refusal{version: r.Version, raw: r.Body, err: err, at: now}
}

// commit accepts.
func (s *set[T]) commit(fresh map[string]*entry[T]) {
	for name, e := range fresh {
		s.latest[name] = e
		delete(s.refused, name)
		delete(s.missing, name)
	}
}

// refusals are those of this response's resources.
func (s *set[T]) refusals(u client.Update) map[string]error {
	out := map[string]error{}
	for _, r := range u.Resources {
		if refused, ok := s.refused[r.Name]; ok {
			out[r.Name] = refused.err
		}
	}
	return out
}

func (s *set[T]) setMissing(name string) {
	if s.latest[name] == nil {
		s.missing[name] = true
	}
}

// settled tells whether a reference need not be waited for. Something that is refused and was never good is waited for
// only by those who have an older version to serve with meanwhile.
func (s *set[T]) settled(name string, hasOlder bool) bool {
	if s.latest[name] != nil || s.missing[name] {
		return true
	}
	_, refused := s.refused[name]
	return refused && !hasOlder
}

// keep forgets all that is neither static nor named.
func (s *set[T]) keep(names map[string]bool) {
	for name, e := range s.latest {
		if !names[name] && !e.static {
			delete(s.latest, name)
		}
	}
	drop := func(name string) bool { return !names[name] }
	maps.DeleteFunc(s.refused, func(name string, _ refusal) bool { return drop(name) })
	maps.DeleteFunc(s.missing, func(name string, _ bool) bool { return drop(name) })
}

// activateAll is for types that refer to nothing.
func (s *set[T]) activateAll() { s.active = maps.Clone(s.latest) }

// warming tells whether something accepted does not serve yet.
func (s *set[T]) warming() bool {
	for name, e := range s.latest {
		if s.active[name] != e {
			return true
		}
	}
	return false
}

func sortedEntries[T any](entries map[string]*entry[T]) []*entry[T] {
	var out []*entry[T]
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		out = append(out, entries[name])
	}
	return out
}
