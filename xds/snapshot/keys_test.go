package snapshot_test

import (
	"strings"
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
		return map[string][]snapshot.Entry{resource.ClusterType: {{Name: "a", Key: key, Make: func() (proto.Message, error) {
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
