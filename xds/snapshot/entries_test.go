package snapshot_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	"google.golang.org/protobuf/proto"
)

// content is what a message of the model is made of: its key.
type content struct {
	kind string
	n    int
}

// randomFleet is what a fleet is to have: by type, names and what is said under them.
type randomFleet struct {
	r     *rand.Rand
	lists map[string][]snapshot.Entry
}

func (w *randomFleet) entry(typeURL, name string, c content, make func(name string, n int) proto.Message) snapshot.Entry {
	e := snapshot.Entry{Name: name, Key: c, Make: func(e snapshot.Entry) (proto.Message, error) { return make(e.Name, e.Key.(content).n), nil }}
	if w.r.IntN(200) == 0 { // one that is made anew each time
		e.Key, e.Make = nil, func(e snapshot.Entry) (proto.Message, error) { return make(e.Name, c.n), nil }
	}
	return e
}

// change edits some of a type's entries: another content, less, more, one twice, another order. Most types stay as they are,
// and so does the very list.
func (w *randomFleet) change(typeURL string, names int, name func(i int) string, make func(name string, n int) proto.Message) {
	if len(w.lists[typeURL]) > 0 && w.r.IntN(2) == 0 {
		return
	}
	at, last := map[string]bool{}, w.lists[typeURL]
	var list []snapshot.Entry
	for _, e := range last {
		if at[e.Name] || w.r.IntN(60) == 0 {
			continue
		}
		if w.r.IntN(2+names/2) == 0 {
			e = w.entry(typeURL, e.Name, content{typeURL, w.r.IntN(6)}, make)
		}
		at[e.Name] = true
		list = append(list, e)
	}
	for i := range names {
		if n := name(i); !at[n] && (len(last) == 0 || w.r.IntN(12) == 0) {
			list = append(list, w.entry(typeURL, n, content{typeURL, w.r.IntN(6)}, make))
		}
	}
	if len(list) > 0 && w.r.IntN(40) == 0 {
		list = append(list, list[w.r.IntN(len(list))])
	}
	w.r.Shuffle(len(list), func(i, j int) {
		if w.r.IntN(8) == 0 {
			list[i], list[j] = list[j], list[i]
		}
	})
	if w.r.IntN(2) == 0 {
		slices.SortFunc(list, func(a, b snapshot.Entry) int { return strings.Compare(a.Name, b.Name) })
	}
	w.lists[typeURL] = list
}

// TestEntries: whatever was before, a snapshot of the same entries says the same as one that is made of nothing: resources,
// versions, endpoints that are filled in, errors. Keys are contents, lists come in any order, and some twice.
func TestEntries(t *testing.T) {
	built, refused := 0, 0
	for seed := range uint64(10) {
		w := &randomFleet{r: rand.New(rand.NewPCG(seed, 2)), lists: map[string][]snapshot.Entry{}}
		var line *snapshot.Snapshot
		for step := range 60 {
			number := func(prefix string) func(i int) string { return func(i int) string { return fmt.Sprint(prefix, i) } }
			w.change(resource.ClusterType, 40, number("c"), func(name string, n int) proto.Message { return xdstest.Cluster(name, time.Duration(n+1)*time.Second) })
			w.change(resource.EndpointType, 40, number("c"), func(name string, n int) proto.Message { return xdstest.Endpoints(name, fmt.Sprint("10.0.0.1:", n+1)) })
			if step == 0 || w.r.IntN(20) == 0 { // where a table is gone, its hosts are a mistake
				w.change(resource.RouteType, 3, number("t"), func(name string, n int) proto.Message {
					if n == 0 { // its hosts are a mistake, too
						return xdstest.Routes(name)
					}
					return xdstest.Table(name)
				})
			}
			w.change(resource.VirtualHostType, 40, func(i int) string { return fmt.Sprintf("t%d/h%d", i%3, i/3) }, func(name string, n int) proto.Message {
				return xdstest.Host(name[:2], name[3:], fmt.Sprint("c", n))
			})
			now, err := snapshot.BuildEntries(w.lists, line)
			anew, want := snapshot.BuildEntries(w.lists, nil)
			if fmt.Sprint(err) != fmt.Sprint(want) {
				t.Fatalf("seed %d, step %d: got the error %v, want %v", seed, step, err, want)
			}
			if err != nil {
				refused++
				continue
			}
			built++
			for _, typ := range resource.PushOrder {
				got, want := now.Set(typ.URL), anew.Set(typ.URL)
				if fmt.Sprint(written(got.All())) != fmt.Sprint(written(want.All())) || got.Version() != want.Version() {
					t.Fatalf("seed %d, step %d: %s: got version %s of %v, want %s of %v", seed, step, typ.Short, got.Version(), written(got.All()), want.Version(), written(want.All()))
				}
			}
			line = now
		}
	}
	if built < 50 || refused < 50 {
		t.Errorf("got %d snapshots and %d refused, want many of both", built, refused)
	}
}

func written(all []*snapshot.Resource) (out []string) {
	for _, r := range all {
		out = append(out, r.Name+"="+r.Version[:4])
	}
	return out
}
