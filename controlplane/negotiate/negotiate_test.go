package negotiate

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-proxy/sluice/xds/features"
	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

// deaf hears what is passed on.
type deaf struct{ nodes, closed int }

func (*deaf) StreamOpened(server.StreamID, string)           {}
func (d *deaf) StreamClosed(server.StreamID)                 { d.closed++ }
func (d *deaf) Node(server.StreamID, server.Node)            { d.nodes++ }
func (*deaf) Sent(server.StreamID, string, string)           {}
func (*deaf) Acked(server.StreamID, string, string)          {}
func (*deaf) Nacked(server.StreamID, string, string, string) {}

const (
	assignment = "envoy.config.endpoint.v3.ClusterLoadAssignment"
	limit      = 5  // Cluster.per_connection_buffer_limit_bytes
	altName    = 28 // Cluster.alt_stat_name
)

// takes is the table of a proxy that takes some fields of clusters.
func takes(more ...protoreflect.FieldNumber) features.Table {
	fields := features.Message{1: {}, 2: {}, 3: {Skip: true}, 4: {}}
	for _, n := range more {
		fields[n] = features.Field{}
	}
	return features.Table{"envoy.config.cluster.v3.Cluster": fields, assignment: {1: {}}}
}

var own, old, older = takes(limit, altName), takes(altName), takes()

func node(id string, table features.Table) server.Node {
	return server.Node{ID: id, Cluster: "edge", Agent: "sluice-proxy", Version: "0.1", Features: features.Word(table)}
}

func build(t *testing.T, before *snapshot.Snapshot, clusters ...proto.Message) *snapshot.Snapshot {
	t.Helper()
	s, err := snapshot.Build(xdstest.Resources(clusters...), before)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// cluster has an alt_stat_name, and perhaps a limit.
func cluster(name, alt string, limited bool) proto.Message {
	c := xdstest.Cluster(name, time.Second)
	c.AltStatName = alt
	if limited {
		c.PerConnectionBufferLimitBytes = wrapperspb.UInt32(1)
	}
	return c
}

func rang(r *Room) bool {
	select {
	case <-r.Changed():
		return true
	default:
		return false
	}
}

// TestRoom follows proxies that come, are updated, and go.
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &deaf{}
		r := New(Options{Next: next, Own: own})
		now := build(t, nil, cluster("a", "x", false))
		expect := func(what string, bell bool, want ...string) {
			t.Helper()
			var got []string
			for _, l := range r.Lacks("edge", now, nil) {
				got = append(got, strings.Join(l.Proxies, " "))
			}
			if diff := cmp.Diff(want, got); diff != "" || rang(r) != bell {
				t.Errorf("%s: bell: want %v; want (-), got (+):\n%s", what, bell, diff)
			}
		}
		r.Node(1, node("new", own))
		r.Node(2, server.Node{ID: "stranger", Cluster: "edge", Agent: "grpc-go", Version: "1"})
		r.Node(3, server.Node{ID: "broken", Cluster: "edge", Agent: "x", Features: "1.nonsense"})
		r.Node(4, server.Node{ID: "envoy", Cluster: "edge", Agent: "envoy", Version: "1.40.0", Features: "x.a b"})
		expect("who takes everything, or does not say", false)
		r.Node(5, node("o1", older))
		expect("one that is older", true, "o1")
		r.Node(6, node("o2", older))
		expect("another", true, "o1 o2")
		r.Node(7, node("other", old)) // it has the field
		expect("a class that lacks something else", true, "o1 o2")
		r.StreamClosed(5)
		r.Node(8, node("o1", older))
		r.StreamClosed(6)
		time.Sleep(defaultKeepFor - time.Second)
		expect("it came back, and the other is not long gone", false, "o1 o2")
		time.Sleep(2 * time.Second)
		expect("it is long gone", true, "o1")
		r.StreamClosed(8)
		r.Node(9, node("o1", own))
		expect("it was updated", true)
		if fleets := r.Fleets(); len(fleets) != 1 || next.nodes != 9 || next.closed != 3 {
			t.Errorf("got fleets %v, passed on %+v", fleets, next)
		}
		r.Node(10, node("x", older))
		r.Node(11, node("x", older)) // the next stream comes before the end of the last
		r.StreamClosed(10)
		time.Sleep(time.Hour)
		expect("it is there", true, "x")
		if len(r.streams) != 2 || len(r.proxies) != 2 {
			t.Errorf("got %d streams and %d proxies, want 2", len(r.streams), len(r.proxies))
		}
	})
}

// TestNew has what is new apart from what was there before.
func TestNew(t *testing.T) {
	r := New(Options{Next: &deaf{}})
	r.Node(1, node("p", older))
	before := build(t, nil, cluster("a", "x", false), cluster("b", "", false))
	now := build(t, before, cluster("a", "y", true),
		cluster("b", "", false), cluster("c", "x", false))
	var got []string
	for _, l := range r.Lacks("edge", now, before) {
		got = append(got, fmt.Sprintf("%s %s %v", l.Resource, l.Field, l.New))
	}
	want := []string{"a Cluster.alt_stat_name false", "a Cluster.per_connection_buffer_limit_bytes true", "c Cluster.alt_stat_name true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if got := r.Lacks("west", now, before); len(got) > 0 {
		t.Errorf("got %v of a fleet without proxies", got)
	}
	text := r.Lacks("edge", now, before)[1].String()
	if want := `fleet edge: proxy p (sluice-proxy 0.1) does not support cluster field Cluster.per_connection_buffer_limit_bytes ("a": per_connection_buffer_limit_bytes); Envoy does`; text != want {
		t.Errorf("got %s\nwant %s", text, want)
	}
	for i := range 4 {
		r.Node(server.StreamID(i+2), node(fmt.Sprint("q", i), older))
	}
	text = r.Lacks("edge", now, before)[0].String()
	if want := "fleet edge: proxies p, q0, q1 and 2 more (sluice-proxy 0.1) do not support cluster field"; !strings.HasPrefix(text, want) {
		t.Errorf("got %s\nwant %s…", text, want)
	}
}

// TestBounds has more strangers than are remembered.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, n := New(Options{Next: &deaf{}, Own: own}), node("x", older)
		for i := range maxClasses + 10 {
			n.Version = fmt.Sprint(i)
			r.Node(server.StreamID(i), n)
			r.StreamClosed(server.StreamID(i))
		}
		if len(r.classes) > maxClasses || len(r.proxies) != 1 {
			t.Errorf("got %d classes and %d proxies", len(r.classes), len(r.proxies))
		}
		for i := range maxProxies + 10 {
			n.ID = fmt.Sprint(i)
			r.Node(server.StreamID(i+1000), n)
			if i < 3 {
				r.StreamClosed(server.StreamID(i + 1000))
			}
		}
		if len(r.proxies) != maxProxies || r.proxies[key{"edge", "0"}] != nil || r.proxies[key{"edge", "5"}] == nil {
			t.Errorf("got %d proxies, want %d: those that went make room", len(r.proxies), maxProxies)
		}
		time.Sleep(time.Hour)
	})
}

// TestKeep has another process that knows what this one did, for as long as it would have.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{Next: &deaf{}, Own: own})
		r.Node(1, node("a", older))
		r.Node(2, node("b", older))
		r.Node(3, node("c", old))
		lines := r.Keep()
		now := build(t, nil, cluster("a", "x", true))
		texts := func(r *Room) (out []string) {
			for _, l := range r.Lacks("edge", now, nil) {
				out = append(out, l.String())
			}
			return out
		}
		next := New(Options{Next: &deaf{}, Own: own, Kept: append(lines, []byte(`"damaged"`))})
		if diff := cmp.Diff(texts(r), texts(next)); diff != "" || len(lines) != 2 || next.Seq() == 0 {
			t.Errorf("%d lines; want (-), got (+):\n%s", len(lines), diff)
		}
		if diff := cmp.Diff(lines, next.Keep()); diff != "" {
			t.Errorf("want (-), got (+):\n%s", diff)
		}
		next.Node(0, node("a", own)) // updated
		next.Node(1, node("b", older))
		time.Sleep(time.Hour)
		next.mu.Lock()
		defer next.mu.Unlock()
		if len(next.proxies) != 1 || next.proxies[key{"edge", "b"}] == nil || len(next.streams) != 1 {
			t.Errorf("got %v, want the one that is there", next.proxies)
		}
		if other := New(Options{Next: &deaf{}, Own: takes(), Kept: lines}); len(other.proxies) != 0 {
			t.Errorf("got %v, want nobody: this build sends no more than they take", other.proxies)
		}
	})
}
