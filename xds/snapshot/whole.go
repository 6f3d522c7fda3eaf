package snapshot

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/sluice-proxy/sluice/xds/resource"
	"google.golang.org/protobuf/encoding/protowire"
)

// State of the world has no VHDS: there a table is one resource with all of its hosts. Such tables are made of the parts,
// which are serialized, when the first stream asks for them, and only those of which a part changed.

// Whole is the snapshot as it is in state of the world: the very same one if no table's hosts are apart. It is made when it
// is first asked for, and shared. RDS has the same version in both forms.
func (s *Snapshot) Whole() *Snapshot {
	if s.whole == nil {
		return s
	}
	return s.whole()
}

// Hosts are the virtual hosts of a table in a set of them, sorted by name. The slice must not be changed.
func (s *Set) Hosts(table string) []*Resource {
	prefix := table + "/"
	from := sort.Search(len(s.all), func(i int) bool { return s.all[i].Name >= prefix })
	to := from
	for to < len(s.all) && strings.HasPrefix(s.all[to].Name, prefix) {
		to++
	}
	under := s.all[from:to]
	other := func(r *Resource) bool { return resource.TableOf(r.Name) != table }
	if slices.ContainsFunc(under, other) { // another table's name begins so
		return slices.DeleteFunc(slices.Clone(under), other)
	}
	return under
}

// splitTables is for a snapshot with hosts apart. RDS and VHDS then have one version, of both, so that it is the same for
// streams of either protocol.
func (s *Snapshot) splitTables(previous *Snapshot) {
	s.tables = previous.tables
	if s.tables == nil {
		s.tables = &tables{made: map[string]*Resource{}}
	}
	if previous.tables == nil || slices.ContainsFunc(splitTypes, func(url string) bool { return s.Set(url) != previous.Set(url) }) {
		h := xxhash.New()
		for _, url := range splitTypes {
			_, _ = h.WriteString(Version(s.Set(url).all))
		}
		version := fmt.Sprintf("%016x", h.Sum64())
		for _, url := range splitTypes {
			if set := s.Set(url); set.version != version {
				s.sets[url] = newSetOf(version, set.all, previous.Set(url))
			}
		}
	}
	s.whole = sync.OnceValue(s.makeWhole)
}

var splitTypes = []string{resource.RouteType, resource.VirtualHostType}

func (s *Snapshot) makeWhole() *Snapshot {
	thin, hosts := s.Set(resource.RouteType), s.Set(resource.VirtualHostType)
	all := make([]*Resource, 0, thin.Len())
	s.tables.keep(thin)
	for _, t := range thin.all {
		if t.apart {
			t = s.tables.whole(t, hosts.Hosts(t.Name))
		}
		all = append(all, t)
	}
	whole := &Snapshot{sets: map[string]*Set{}}
	for url, set := range s.sets {
		whole.sets[url] = set
	}
	whole.sets[resource.RouteType] = newSetOf(thin.version, all, nil)
	whole.sets[resource.VirtualHostType] = emptySet
	return whole
}

// tables are the whole ones that were made last, so that what did not change is the very same one in the next snapshot.
type tables struct {
	mu   sync.Mutex
	made map[string]*Resource // guarded by mu
}

// keep forgets tables that are no more.
func (t *tables) keep(set *Set) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.made {
		if set.Get(name) == nil {
			delete(t.made, name)
		}
	}
}

func (t *tables) whole(thin *Resource, hosts []*Resource) *Resource {
	h := xxhash.New()
	_, _ = h.WriteString(thin.Version)
	_, _ = h.WriteString(Version(hosts))
	version := fmt.Sprintf("%016x", h.Sum64())
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.made[thin.Name]; r != nil && r.Version == version {
		return r
	}
	r := &Resource{Name: thin.Name, Version: version, refs: thin.refs}
	value := without(thin.Any().GetValue(), vhdsField)
	for i := range r.refs {
		r.refs[i] = slices.Clone(r.refs[i])
	}
	for _, host := range hosts {
		value = protowire.AppendTag(value, hostsField, protowire.BytesType)
		value = protowire.AppendBytes(value, host.Any().GetValue())
		for i := range r.refs {
			r.refs[i] = append(r.refs[i], host.refs[i]...)
		}
	}
	for i := range r.refs {
		r.refs[i] = sortedUnique(r.refs[i])
	}
	r.made = time.Now()
	r.fill(resource.RouteType, value)
	t.made[thin.Name] = r
	return r
}

// The fields of envoy.config.route.v3.RouteConfiguration.
const (
	hostsField protowire.Number = 2 // virtual_hosts
	vhdsField  protowire.Number = 9 // vhds
)

// without is a serialized message less one of its fields. What it gets was serialized here.
func without(message []byte, field protowire.Number) []byte {
	out := make([]byte, 0, len(message))
	for len(message) > 0 {
		number, _, size := protowire.ConsumeField(message)
		if size < 0 {
			panic("snapshot: a resource of ours cannot be read")
		}
		if number != field {
			out = append(out, message[:size]...)
		}
		message = message[size:]
	}
	return out
}

// checkHosts refuses virtual hosts that no table asks for: a proxy would take them for nothing.
func checkHosts(built map[string][]*Resource) (errs []error) {
	apart := map[string]bool{}
	for _, r := range built[resource.RouteType] {
		apart[r.Name] = r.apart
	}
	for _, r := range built[resource.VirtualHostType] {
		if table := resource.TableOf(r.Name); !apart[table] {
			errs = append(errs, fmt.Errorf("snapshot: VHDS %q: belongs to RDS %q: got none with vhds of that name", r.Name, table))
		}
	}
	return errs
}
