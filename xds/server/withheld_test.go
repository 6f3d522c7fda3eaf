package server

import (
	"fmt"
	"slices"
	"testing"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/protobuf/proto"
)

// notes writes down what it is told of clusters.
type notes struct {
	Observer
	got []string
}

func (n *notes) note(what, url, version string) {
	if url == cds {
		n.got = append(n.got, what+" "+version)
	}
}
func (n *notes) Sent(StreamID, string, string)             {}
func (n *notes) Acked(_ StreamID, url, version string)     { n.note("acked", url, version) }
func (n *notes) Nacked(_ StreamID, url, version, _ string) { n.note("nacked", url, version) }
func (n *notes) Withheld(_ StreamID, url, version string)  { n.note("withheld", url, version) }

// TestWithheld: a version of which a part stays parked, since it was refused before, has a verdict too, once.
func TestWithheld(t *testing.T) {
	for _, delta := range []bool{true, false} {
		t.Run(fmt.Sprint("delta=", delta), func(t *testing.T) {
			var previous *snapshot.Snapshot
			build := func(versions ...string) *snapshot.Snapshot {
				all := map[string]map[string]proto.Message{cds: {}}
				for i, v := range versions {
					name := fmt.Sprint("c", i)
					all[cds][name] = &clusterpb.Cluster{Name: name, AltStatName: v}
				}
				s, err := snapshot.Build(all, previous)
				if err != nil {
					t.Fatal(err)
				}
				previous = s
				return s
			}
			heard := &notes{}
			st := newState(config{delta: delta, maxNames: 100, now: time.Now, unserved: func(string) {}, report: reporter{id: 1, observer: heard}})
			answer := func(refuse bool) {
				for m := st.next(); m != nil; m = st.next() {
					req := &request{typeURL: m.typeURL, nonce: m.nonce}
					if refuse {
						text := "no"
						req.refused, refuse = &text, false
					}
					if err := st.handle(req); err != nil {
						t.Fatal(err)
					}
					st.settle()
				}
				st.settle()
			}
			one, two, three, four := build("a", "a"), build("b", "a"), build("b", "c"), build("d", "c")
			version := func(s *snapshot.Snapshot) string { return s.Set(cds).Version() }
			st.adopt(one)
			if err := st.handle(&request{typeURL: cds}); err != nil {
				t.Fatal(err)
			}
			answer(false)
			st.adopt(two)
			answer(true)
			st.settle()
			st.adopt(three)
			answer(false)
			st.adopt(four)
			answer(false)
			want := []string{"acked " + version(one), "nacked " + version(two), "withheld " + version(two), "withheld " + version(three), "acked " + version(four)}
			if !slices.Equal(heard.got, want) {
				t.Errorf("got %q, want %q", heard.got, want)
			}
		})
	}
}
