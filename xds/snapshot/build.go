package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/sluice-proxy/sluice/xds/resource"
	"google.golang.org/protobuf/proto"
)

// Build makes a snapshot of messages by type URL and name: see BuildEntries.
func Build(resources map[string]map[string]proto.Message, previous *Snapshot) (*Snapshot, error) {
	entries := map[string][]Entry{}
	for url, messages := range resources {
		entries[url] = []Entry{} // of an unknown type, too
		for name, m := range messages {
			entries[url] = append(entries[url], Entry{Name: name, Make: func(Entry) (proto.Message, error) { return m, nil }})
		}
	}
	return BuildEntries(entries, previous)
}

// BuildEntries makes a snapshot of entries by type URL. What did not change since previous, which may be nil, is the very
// same: resource, set, and, if nothing changed at all, previous itself. A list of entries with keys that is the very
// one that previous was built from is not even looked at.
//
// It adds an empty ClusterLoadAssignment for every EDS cluster that has none, since a service without endpoints is an
// empty assignment and not a missing one (rule 14). Every other reference to a resource that is not in the set is an
// error, and so is a name that stands twice; errors are joined, and each names both ends. Snapshots that descend from one
// another are built by one goroutine at a time.
func BuildEntries(entries map[string][]Entry, previous *Snapshot) (*Snapshot, error) {
	if previous == nil {
		previous = Empty
	}
	var errs []error
	for url := range entries {
		if _, ok := resource.ByURL(url); !ok {
			errs = append(errs, fmt.Errorf("snapshot: type %q: got a type that is not served", url))
		}
	}
	built, known := map[string][]*Resource{}, map[string]bool{}
	for _, t := range resource.PushOrder {
		all, again, wrong := makeAll(t, entries[t.URL], previous.Set(t.URL))
		built[t.URL], known[t.URL], errs = all, again, append(errs, wrong...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := fillEndpoints(built, previous); err != nil {
		return nil, err
	}
	if err := check(built, previous); err != nil {
		return nil, err
	}
	next := assemble(built, previous)
	for url, list := range entries {
		// Endpoints that were filled in are more than the list.
		if set := next.sets[url]; known[url] && len(list) > 0 && len(set.all) == len(list) {
			set.from = list
		}
	}
	return next, nil
}

// assemble reuses the sets that did not change, and previous if none did.
func assemble(built map[string][]*Resource, previous *Snapshot) *Snapshot {
	next := &Snapshot{sets: map[string]*Set{}}
	same := true
	for _, t := range resource.PushOrder {
		old := previous.Set(t.URL)
		if slices.Equal(old.all, built[t.URL]) {
			next.sets[t.URL] = old
			continue
		}
		same = false
		next.sets[t.URL] = newSet(built[t.URL], old)
	}
	if same {
		return previous
	}
	if slices.ContainsFunc(built[resource.RouteType], (*Resource).HostsApart) {
		next.splitTables(previous)
	}
	return next
}

func build(t resource.Type, name string, m proto.Message, old *Resource) (*Resource, error) {
	if got := nameOf(m); got != name || name == "" {
		return nil, fmt.Errorf("snapshot: %s %q: name: got %q, want its key", t.Short, name, got)
	}
	if got := "type.googleapis.com/" + string(m.ProtoReflect().Descriptor().FullName()); got != t.URL {
		return nil, fmt.Errorf("snapshot: %s %q: got a %s, want a %s", t.Short, name, got, t.URL)
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %s %q: %w", t.Short, name, err)
	}
	if old != nil && bytes.Equal(old.Any().GetValue(), value) {
		return old, nil
	}
	refs, err := references(m)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %s %q: %w", t.Short, name, err)
	}
	r := &Resource{Name: name, Version: fmt.Sprintf("%016x", xxhash.Sum64(value)), refs: refs, made: time.Now()}
	r.fill(t.URL, value)
	if table, ok := m.(*routepb.RouteConfiguration); ok {
		r.apart = table.GetVhds() != nil
	}
	return r, nil
}

// fillEndpoints adds what rule 14 asks for. As long as no endpoints went, only a cluster that is new can lack some.
func fillEndpoints(built map[string][]*Resource, previous *Snapshot) error {
	endpoints, _ := resource.ByURL(resource.EndpointType)
	clusters := built[resource.ClusterType]
	fresh, _ := news(built, previous, resource.ClusterType)
	if _, gone := news(built, previous, endpoints.URL); !gone {
		clusters = fresh
	}
	var added []*Resource
	made := map[string]bool{}
	for _, c := range clusters {
		for _, name := range c.Refs(endpoints.URL) {
			if find(built[endpoints.URL], name) != nil || made[name] {
				continue
			}
			m := &endpointpb.ClusterLoadAssignment{ClusterName: name}
			r, err := build(endpoints, name, m, previous.Set(endpoints.URL).Get(name))
			if err != nil {
				return err
			}
			added, made[name] = append(added, r), true
		}
	}
	if len(added) > 0 {
		built[endpoints.URL] = slices.Concat(built[endpoints.URL], added) // the list may be a set's
		sortResources(built[endpoints.URL])
	}
	return nil
}

// news are the resources of a type that are others than before, and whether some are no more.
func news(built map[string][]*Resource, previous *Snapshot, typeURL string) (fresh []*Resource, gone bool) {
	for _, r := range differences(previous.Set(typeURL).all, built[typeURL]) {
		if r == nil {
			gone = true
			continue
		}
		fresh = append(fresh, r)
	}
	return fresh, gone
}

// check refuses a set in which something refers to nothing: a proxy would wait for it, or answer 503. As long as nothing went,
// only what is new can do so.
func check(built map[string][]*Resource, previous *Snapshot) error {
	gone := false
	fresh := map[string][]*Resource{}
	for _, t := range resource.PushOrder {
		var less bool
		fresh[t.URL], less = news(built, previous, t.URL)
		gone = gone || less
	}
	if gone {
		fresh = built
	}
	var errs []error
	for _, t := range resource.PushOrder {
		for _, r := range fresh[t.URL] {
			for _, to := range resource.PushOrder {
				for _, name := range r.Refs(to.URL) {
					if find(built[to.URL], name) == nil {
						errs = append(errs, fmt.Errorf("snapshot: %s %q: refers to %s %q: got nothing of that name", t.Short, r.Name, to.Short, name))
					}
				}
			}
		}
	}
	if gone || len(fresh[resource.RouteType])+len(fresh[resource.VirtualHostType]) > 0 {
		errs = append(errs, checkHosts(built)...)
	}
	return errors.Join(errs...)
}

// find finds a resource among sorted ones; nil if it is not there.
func find(sorted []*Resource, name string) *Resource {
	i, ok := slices.BinarySearchFunc(sorted, name, func(r *Resource, name string) int { return strings.Compare(r.Name, name) })
	if !ok {
		return nil
	}
	return sorted[i]
}

// differences are the names of which two sorted lists have not the same, and what the second has of them.
func differences(a, b []*Resource) iter.Seq2[string, *Resource] {
	return func(yield func(string, *Resource) bool) {
		for len(a)+len(b) > 0 {
			var name string
			var now *Resource
			switch {
			case len(a) > 0 && len(b) > 0 && a[0] == b[0]:
				a, b = a[1:], b[1:]
				continue
			case len(a) == 0 || len(b) > 0 && b[0].Name < a[0].Name:
				name, now, b = b[0].Name, b[0], b[1:]
			case len(b) == 0 || a[0].Name < b[0].Name:
				name, a = a[0].Name, a[1:]
			default:
				name, now, a, b = b[0].Name, b[0], a[1:], b[1:]
			}
			if !yield(name, now) {
				return
			}
		}
	}
}

func nameOf(m proto.Message) string {
	switch m := m.(type) {
	case *endpointpb.ClusterLoadAssignment:
		return m.GetClusterName()
	case interface{ GetName() string }:
		return m.GetName()
	}
	return ""
}

// endpointsOf is the name under which a cluster asks for its endpoints; "" if it does not ask.
func endpointsOf(c *clusterpb.Cluster) string {
	if c.GetType() != clusterpb.Cluster_EDS {
		return ""
	}
	if name := c.GetEdsClusterConfig().GetServiceName(); name != "" {
		return name
	}
	return c.GetName()
}
