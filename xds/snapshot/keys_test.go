package snapshot_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

// TestKeys: while its key is the same a resource is not made again; another key with the same content is the same resource.
func TestKeys(t *testing.T) {
	made := 0
	entries := func(key any, timeout time.Duration) map[string][]snapshot.Entry {
		return map[string][]snapshot.Entry{resource.ClusterType: {{Name: "a", Key: key, Make: func(snapshot.Entry) (proto.Message, error) {
			made++
			return xdstest.Cluster("a", timeout), nil
		}}}}
	}
	var previous *snapshot.Snapshot
	var last *snapshot.Resource
	for i, step := range []struct {
		key      any
		timeout  time.Duration
		made     int
		resource bool // the same as before
	}{
		{1, time.Second, 1, false},
		{1, time.Minute, 1, true}, // whoever has one key for two contents is at fault
		{2, time.Second, 2, true},
		{2, time.Second, 2, true},
		{nil, time.Second, 3, true},
		{nil, time.Second, 4, true},
		{2, time.Second, 4, true},
		{3, time.Minute, 5, false},
		{2, time.Second, 6, false},
	} {
		s, err := snapshot.BuildEntries(entries(step.key, step.timeout), previous)
		if err != nil {
			t.Fatal(err)
		}
		r := s.Set(resource.ClusterType).Get("a")
		if made != step.made || (r == last) != step.resource || (s == previous) != step.resource {
			t.Errorf("step %d: made %d times, want %d; the same resource %v, the same snapshot %v, want %v", i, made, step.made, r == last, s == previous, step.resource)
		}
		previous, last = s, r
	}
	twice := entries(nil, 0)
	twice[resource.ClusterType] = append(twice[resource.ClusterType], twice[resource.ClusterType]...)
	if _, err := snapshot.BuildEntries(twice, nil); err == nil || !strings.Contains(err.Error(), `CDS "a": stands twice`) {
		t.Errorf("got %v, want a name that stands twice", err)
	}
}

// TestSameList: the very list of before is not looked at, unless an entry has no key; an equal one is.
func TestSameList(t *testing.T) {
	made := 0
	list := func(key any, names ...string) (all []snapshot.Entry) {
		for _, name := range names {
			all = append(all, snapshot.Entry{Name: name, Key: key, Make: func(e snapshot.Entry) (proto.Message, error) {
				made++
				return xdstest.Cluster(e.Name, time.Duration(made)*time.Second), nil
			}})
		}
		return all
	}
	keyed, other, mixed := list(1, "a", "b"), list(1, "a", "b"), slices.Concat(list(1, "a"), list(nil, "b"))
	var previous *snapshot.Snapshot
	for i, step := range []struct {
		list     []snapshot.Entry
		made     int
		resource string // that is another one
	}{
		{keyed, 2, "a b"}, {keyed, 2, ""}, {other, 2, ""}, {keyed, 2, ""}, {mixed, 3, "b"}, {mixed, 4, "b"}, {keyed, 5, "b"}, {keyed[:1], 5, "b"}, {keyed, 6, "b"},
	} {
		s, err := snapshot.BuildEntries(map[string][]snapshot.Entry{resource.ClusterType: step.list}, previous)
		if err != nil {
			t.Fatal(err)
		}
		if previous == nil {
			previous = snapshot.Empty
		}
		if got := strings.Join(s.Set(resource.ClusterType).Changed(previous.Set(resource.ClusterType)), " "); got != step.resource || made != step.made {
			t.Errorf("step %d: made %d times, want %d; others are %q, want %q", i, made, step.made, got, step.resource)
		}
		previous = s
	}
	keyed[0].Key = 2 // whoever does this is at fault: it shows that nobody looks
	if s, err := snapshot.BuildEntries(map[string][]snapshot.Entry{resource.ClusterType: keyed}, previous); err != nil || s != previous || made != 6 {
		t.Errorf("got another snapshot or %v after %d were made, want the same", err, made)
	}
}

// TestPlanBesideBuild: a plan, which has no keys, is made of what is served while the next is built of it. (For -race.)
func TestPlanBesideBuild(t *testing.T) {
	entries := func() map[string][]snapshot.Entry {
		return map[string][]snapshot.Entry{resource.ClusterType: {{Name: "a", Key: 1, Make: func(snapshot.Entry) (proto.Message, error) {
			return xdstest.Cluster("a", time.Second), nil
		}}}}
	}
	served, err := snapshot.BuildEntries(entries(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		for range 100 {
			if planned, err := snapshot.Build(xdstest.Resources(xdstest.Cluster("a", time.Second)), served); err != nil || planned.Version(resource.ClusterType) != served.Version(resource.ClusterType) {
				t.Error("got another plan, want what is served", err)
			}
		}
	})
	both.Go(func() {
		for range 100 {
			if s, err := snapshot.BuildEntries(entries(), served); err != nil || s != served {
				t.Error("got another snapshot", err)
			}
		}
	})
	both.Wait()
}
