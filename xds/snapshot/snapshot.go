// Package snapshot holds what one fleet's proxies are to have: an immutable, consistent set of resources per type.
//
// In: Envoy messages by type and name, and the snapshot before. Out: each resource serialized once, with a version
// that is the hash of its content, and with the names that it refers to; and a Cache that hands the latest to whoever
// watches. It must not know streams, subscriptions or who is connected, nor the control plane that makes the messages.
package snapshot

import (
	"encoding/hex"
	"maps"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/sluice-proxy/sluice/xds/resource"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/anypb"
)

// Resource is one serialized resource. It is immutable (but for key), and shared by every snapshot and stream that has it: the same
// content under the same name is the same pointer for as long as it stays in the set.
type Resource struct {
	// Name is the resource's own name.
	Name string
	// Version is the hash of the content, 16 hexadecimal digits. It survives a restart of the control plane.
	Version string

	content *anypb.Any
	// delta and whole are what Delta and Whole give; see fill.
	delta   mem.Buffer
	whole   [2]mem.Buffer
	size    int
	refs    [4][]string // sorted, by refIndex
	claimed bool
	made    time.Time
	apart   bool

	// Only BuildEntries uses it, which is for one goroutine at a time in a line of snapshots.
	key any
}

// Any is the resource as it goes into a state-of-the-world response. It must not be changed.
func (r *Resource) Any() *anypb.Any { return r.content }

// Size is the length of the resource when serialized as a discovery.v3.Resource, in bytes.
func (r *Resource) Size() int { return r.size }

// Refs are the names of the given type that the resource refers to, sorted. A cluster refers to endpoints and secrets,
// a listener to routes, secrets and clusters, a route configuration and a virtual host to clusters.
func (r *Resource) Refs(typeURL string) []string {
	if i := refIndex(typeURL); i >= 0 {
		return r.refs[i]
	}
	return nil
}

// Made is when this content was first built under this name; the zero time for what Claimed made.
func (r *Resource) Made() time.Time { return r.made }

// HostsApart reports whether this is a route configuration whose virtual hosts are resources of their own (VHDS).
func (r *Resource) HostsApart() bool { return r.apart }

// Known reports whether the content, and so what it refers to, is known. Only what Claimed made is unknown.
func (r *Resource) Known() bool { return !r.claimed }

// Claimed stands for a resource that a client says that it has, in a version whose content nobody here knows.
func Claimed(name, version string) *Resource {
	return &Resource{Name: name, Version: version, claimed: true}
}

func refIndex(typeURL string) int {
	switch typeURL {
	case resource.ClusterType:
		return 0
	case resource.EndpointType:
		return 1
	case resource.SecretType:
		return 2
	case resource.RouteType:
		return 3
	}
	return -1
}

// Set is all resources of one type in a snapshot.
type Set struct {
	id      uint64
	version string
	all     []*Resource // sorted by name
	byName  map[string]*Resource
	// later is what a few changes made of byName, which is an earlier set's then: nil is gone.
	later map[string]*Resource

	// What Delta and Whole give.
	delta, whole together

	// from is what it was built from. Only BuildEntries uses it, as it does Resource.key.
	from []Entry

	// What changed since the set from which this one was built: one diff serves all streams.
	parent  uint64
	changed []string
}

var setIDs atomic.Uint64

func newSet(all []*Resource, parent *Set) *Set { return newSetOf(Version(all), all, parent) }

func newSetOf(version string, all []*Resource, parent *Set) *Set {
	s := &Set{id: setIDs.Add(1), version: version, all: all}
	if parent != nil {
		s.changed = s.compare(parent)
		s.parent = parent.id
		if s.follow(parent) {
			return s
		}
	}
	s.byName = make(map[string]*Resource, len(all))
	for _, r := range all {
		s.byName[r.Name] = r
	}
	return s
}

// mostLater bounds Set.later.
const mostLater = 64

// follow finds names in the parent's map, if only a few are others.
func (s *Set) follow(parent *Set) bool {
	if len(s.changed)+len(parent.later) > min(mostLater, len(s.all)/4) {
		return false
	}
	s.byName, s.later = parent.byName, maps.Clone(parent.later)
	if s.later == nil {
		s.later = make(map[string]*Resource, len(s.changed))
	}
	for _, name := range s.changed {
		s.later[name] = find(s.all, name)
	}
	return true
}

// Version is the aggregate version: a hash over the (name, version) pairs.
func (s *Set) Version() string { return s.version }

// All are the resources, sorted by name. The slice must not be changed.
func (s *Set) All() []*Resource { return s.all }

// Len is the number of resources.
func (s *Set) Len() int { return len(s.all) }

// Get finds a resource; nil if the set has none of that name.
func (s *Set) Get(name string) *Resource {
	if s == nil {
		return nil
	}
	if r, ok := s.later[name]; ok {
		return r
	}
	return s.byName[name]
}

// Changed names what was added, changed or removed since old, which may be nil. The slice must not be changed.
// From one snapshot to the next it costs nothing: it was computed once, when the set was built.
func (s *Set) Changed(old *Set) []string {
	switch {
	case old == s:
		return nil
	case old != nil && s.parent == old.id:
		return s.changed
	}
	return s.compare(old)
}

func (s *Set) compare(old *Set) []string {
	var before []*Resource
	if old != nil {
		before = old.all
	}
	var names []string
	for name := range differences(before, s.all) {
		names = append(names, name)
	}
	return names
}

// Version is the aggregate version of any resources, which must be sorted by name.
func Version(sorted []*Resource) string {
	h := xxhash.New()
	var some []byte
	for _, r := range sorted {
		some = append(append(append(append(some, r.Name...), 0), r.Version...), 0)
		if len(some) > 4<<10 {
			_, _ = h.Write(some)
			some = some[:0]
		}
	}
	_, _ = h.Write(some)
	return hex.EncodeToString(h.Sum(nil))
}

// Snapshot is one fleet's resources of all types. It is immutable.
type Snapshot struct {
	sets map[string]*Set
	// whole is this snapshot as state of the world has it; nil if it is this one.
	whole func() *Snapshot
	// tables are kept from one snapshot to the next: nil if whole is.
	tables *tables
}

// Set is the resources of one type. A type that Sluice does not serve is an empty set; it is never nil.
func (s *Snapshot) Set(typeURL string) *Set {
	if set := s.sets[typeURL]; set != nil {
		return set
	}
	return emptySet
}

// Version is the aggregate version of one type.
func (s *Snapshot) Version(typeURL string) string { return s.Set(typeURL).Version() }

var emptySet = newSet(nil, nil)

// Empty is the snapshot of a fleet that has nothing.
var Empty = &Snapshot{}

func sortResources(all []*Resource) {
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
}

func sortedUnique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
