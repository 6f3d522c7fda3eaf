package server

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/protobuf/proto"
)

func manyClusters(b testing.TB, n, edited int, previous *snapshot.Snapshot) *snapshot.Snapshot {
	all := map[string]map[string]proto.Message{cds: {}, eds: {}}
	for i := range n {
		name := fmt.Sprintf("cluster-%d", i)
		c := &clusterpb.Cluster{Name: name, ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS}}
		if i == 0 {
			c.AltStatName = fmt.Sprint(edited)
		}
		all[cds][name] = c
		all[eds][name] = &endpointpb.ClusterLoadAssignment{ClusterName: name}
	}
	s, err := snapshot.Build(all, previous)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func settled(s *snapshot.Snapshot, isDelta bool) *state {
	st := newState(config{delta: isDelta, maxNames: 1 << 20, now: time.Now, unserved: func(string) {}})
	st.adopt(s)
	_ = st.handle(&request{typeURL: cds})
	var names []string
	for _, r := range s.Set(eds).All() {
		names = append(names, string([]byte(r.Name)))
	}
	_ = st.handle(&request{typeURL: eds, subscribe: names, names: names})
	accept(st)
	return st
}

func accept(st *state) (resources int) {
	for m := st.next(); m != nil; m = st.next() {
		req := &request{typeURL: m.typeURL, nonce: m.nonce}
		if !st.delta && m.typeURL == eds {
			for _, r := range st.snap.Set(eds).All() {
				req.names = append(req.names, r.Name)
			}
		}
		_ = st.handle(req)
		st.settle()
		resources += len(m.resources)
	}
	return resources
}

// BenchmarkOneChange is what one stream costs when one cluster of a thousand changes.
func BenchmarkOneChange(b *testing.B) {
	for _, isDelta := range []bool{false, true} {
		b.Run(fmt.Sprintf("delta=%v", isDelta), func(b *testing.B) {
			one := manyClusters(b, 1000, 0, nil)
			two := manyClusters(b, 1000, 1, one)
			one = manyClusters(b, 1000, 0, two)
			st := settled(one, isDelta)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				st.adopt([]*snapshot.Snapshot{two, one}[i%2])
				accept(st)
			}
		})
	}
}

// BenchmarkSettledStream is the memory of a stream at rest with 5,000 clusters, all of whose endpoints it names.
func BenchmarkSettledStream(b *testing.B) {
	for _, isDelta := range []bool{false, true} {
		b.Run(fmt.Sprintf("delta=%v", isDelta), func(b *testing.B) {
			s := manyClusters(b, 5000, 0, nil)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var streams []*state
			for b.Loop() {
				streams = append(streams, settled(s, isDelta))
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(streams))/1024, "KiB/stream")
			runtime.KeepAlive(streams)
		})
	}
}

// BenchmarkView is what it costs a stream at rest with 5,000 clusters to be asked.
func BenchmarkView(b *testing.B) {
	st := settled(manyClusters(b, 5000, 0, nil), true)
	for _, troubled := range []bool{true, false} {
		b.Run(fmt.Sprintf("troubled=%v", troubled), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				st.view(troubled)
			}
		})
	}
}
