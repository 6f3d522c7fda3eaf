package snapshot_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	"google.golang.org/protobuf/proto"
)

// TestFollow: a snapshot that was made of the one before says what one would that is made anew: what is there, what is
// another, and what refers to nothing.
func TestFollow(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		clusters, route := map[string]int{}, ""
		var line, last *snapshot.Snapshot
		for step := range 80 {
			for range r.IntN(3) {
				switch name := fmt.Sprint("c", r.IntN(300)); r.IntN(4) {
				case 0:
					delete(clusters, name)
				default:
					clusters[name] = r.IntN(1000)
				}
			}
			if step == 0 || r.IntN(20) == 0 { // many at once
				for i := range 250 {
					clusters[fmt.Sprint("c", i)] = r.IntN(1000)
				}
			}
			if r.IntN(8) == 0 {
				delete(clusters, route) // it is referred to
			}
			if step == 0 || r.IntN(8) == 0 {
				route = fmt.Sprint("c", r.IntN(300))
			}
			var all []proto.Message
			for _, name := range slices.Sorted(maps.Keys(clusters)) {
				all = append(all, xdstest.Cluster(name, time.Duration(clusters[name]+1)*time.Millisecond))
			}
			all = append(all, xdstest.Routes("r", route))
			now, err := snapshot.Build(xdstest.Resources(all...), line)
			anew, want := snapshot.Build(xdstest.Resources(all...), nil)
			if fmt.Sprint(err) != fmt.Sprint(want) {
				t.Fatalf("seed %d, step %d: got the error %v, want %v", seed, step, err, want)
			}
			if err != nil {
				continue
			}
			for _, typed := range resource.PushOrder {
				got, want := now.Set(typed.URL), anew.Set(typed.URL)
				if got.Version() != want.Version() || got.Len() != want.Len() {
					t.Fatalf("seed %d, step %d: %s: got version %s of %d, want %s of %d", seed, step, typed.Short, got.Version(), got.Len(), want.Version(), want.Len())
				}
				for i := range 300 {
					name := fmt.Sprint("c", i)
					one, other := got.Get(name), want.Get(name)
					if (one == nil) != (other == nil) || one != nil && one.Version != other.Version {
						t.Fatalf("seed %d, step %d: %s %s: got %v, want %v", seed, step, typed.Short, name, one, other)
					}
				}
				if line == nil {
					continue
				}
				var changed []string
				for i := range 300 {
					name := fmt.Sprint("c", i)
					if got.Get(name) != line.Set(typed.URL).Get(name) {
						changed = append(changed, name)
					}
				}
				if typed.URL != resource.RouteType && !slices.Equal(slices.Sorted(slices.Values(got.Changed(line.Set(typed.URL)))), slices.Sorted(slices.Values(changed))) {
					t.Fatalf("seed %d, step %d: %s: got %v changed, want %v", seed, step, typed.Short, got.Changed(line.Set(typed.URL)), changed)
				}
				if last != nil && len(got.Changed(last.Set(typed.URL))) == 0 && got.Version() != last.Set(typed.URL).Version() {
					t.Fatalf("seed %d, step %d: %s: what changed over two steps is not what the versions say", seed, step, typed.Short)
				}
			}
			last, line = line, now
		}
	}
}
