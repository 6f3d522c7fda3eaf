package snapshot_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	"google.golang.org/protobuf/proto"
)

func build(t *testing.T, previous *snapshot.Snapshot, resources ...proto.Message) *snapshot.Snapshot {
	t.Helper()
	s, err := snapshot.Build(xdstest.Resources(resources...), previous)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func world() []proto.Message {
	return []proto.Message{
		xdstest.SecureCluster("a", 1e9, "ca"), xdstest.Cluster("b", 1e9),
		xdstest.Endpoints("a", "127.0.0.1:1"),
		xdstest.Secret("ca", "1"), xdstest.Secret("cert", "1"),
		xdstest.Listener("l", "r", "1", "cert"), xdstest.TCPListener("tcp", "b"),
		xdstest.Routes("r", "a", "b", "a"),
	}
}

func TestReferences(t *testing.T) {
	s := build(t, nil, world()...)
	tests := []struct {
		typeURL, name, to string
		want              []string
	}{
		{resource.ClusterType, "a", resource.EndpointType, []string{"a"}},
		{resource.ClusterType, "a", resource.SecretType, []string{"ca"}},
		{resource.ClusterType, "b", resource.SecretType, nil},
		{resource.ListenerType, "l", resource.RouteType, []string{"r"}},
		{resource.ListenerType, "l", resource.SecretType, []string{"cert"}},
		{resource.ListenerType, "l", resource.ClusterType, nil},
		{resource.ListenerType, "tcp", resource.ClusterType, []string{"b"}},
		{resource.RouteType, "r", resource.ClusterType, []string{"a", "b"}},
	}
	for _, test := range tests {
		if got := s.Set(test.typeURL).Get(test.name).Refs(test.to); !slices.Equal(got, test.want) {
			t.Errorf("%s %s → %s: got %v, want %v", xdstest.Short(test.typeURL), test.name, xdstest.Short(test.to), got, test.want)
		}
	}
}

// What did not change is the very same; a restart makes the same versions.
func TestUnchangedIsTheSame(t *testing.T) {
	one := build(t, nil, world()...)
	if build(t, one, world()...) != one {
		t.Error("the same content is another snapshot")
	}
	again := build(t, nil, world()...)
	for _, k := range resource.PushOrder {
		if one.Version(k.URL) != again.Version(k.URL) {
			t.Errorf("%s: another version after a restart", k.Short)
		}
	}

	changed := world()
	changed[2] = xdstest.Endpoints("a", "127.0.0.1:2")
	two := build(t, one, changed...)
	for _, k := range resource.PushOrder {
		if same := two.Set(k.URL) == one.Set(k.URL); same != (k.URL != resource.EndpointType) {
			t.Errorf("%s: the same set is %v", k.Short, same)
		}
	}
	eds := resource.EndpointType
	if two.Set(eds).Get("b") != one.Set(eds).Get("b") || two.Set(eds).Get("a") == one.Set(eds).Get("a") {
		t.Error("EDS: got another b, or the same a")
	}
	if got := two.Set(eds).Changed(one.Set(eds)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("changed: got %v, want a", got)
	}
	if got := one.Set(eds).Changed(two.Set(eds)); !slices.Equal(got, []string{"a"}) {
		t.Errorf("changed back: got %v, want a", got)
	}
	if got := two.Set(eds).Changed(nil); len(got) != 2 {
		t.Errorf("changed since nothing: got %v", got)
	}
	if got := snapshot.Empty.Set(eds).Changed(two.Set(eds)); len(got) != 2 {
		t.Errorf("emptied: got %v", got)
	}
}

// Rule 14.
func TestEndpointsAreFilledIn(t *testing.T) {
	one := build(t, nil, world()...)
	b := one.Set(resource.EndpointType).Get("b")
	if b == nil {
		t.Fatal("got no assignment for b")
	}
	if build(t, one, world()...).Set(resource.EndpointType).Get("b") != b {
		t.Error("it is another one each time")
	}
}

func TestRefused(t *testing.T) {
	without := func(name string) []proto.Message {
		return slices.DeleteFunc(world(), func(m proto.Message) bool { return xdstest.NameOf(m) == name })
	}
	tests := []struct {
		name  string
		in    map[string]map[string]proto.Message
		wants []string
	}{
		{"no cluster", xdstest.Resources(without("b")...), []string{`LDS "tcp": refers to CDS "b"`, `RDS "r": refers to CDS "b"`}},
		{"no secret", xdstest.Resources(without("cert")...), []string{`LDS "l": refers to SDS "cert"`}},
		{"no routes", xdstest.Resources(without("r")...), []string{`LDS "l": refers to RDS "r"`}},
		{"no CA", xdstest.Resources(without("ca")...), []string{`CDS "a": refers to SDS "ca"`}},
		{"another key", map[string]map[string]proto.Message{resource.ClusterType: {"x": xdstest.Cluster("y", 1)}}, []string{`CDS "x": name: got "y"`}},
		{"another type", map[string]map[string]proto.Message{resource.ClusterType: {"x": xdstest.Routes("x")}}, []string{`CDS "x": got a type`}},
		{"unserved", map[string]map[string]proto.Message{"type.googleapis.com/x": nil}, []string{`not served`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, err := snapshot.Build(test.in, nil)
			if err == nil {
				t.Fatalf("got %v, want an error", s)
			}
			for _, want := range test.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to say %q", err, want)
				}
			}
		})
	}
}

func TestCache(t *testing.T) {
	c := snapshot.NewCache()
	w := c.Watch("edge")
	defer w.Stop()
	if c.Ready() || c.Get("edge") != nil {
		t.Fatal("ready before the first build")
	}
	one := build(t, nil, world()...)
	c.Set("edge", one)
	if c.Ready() || c.Get("edge") != nil {
		t.Fatal("one fleet is a full build")
	}
	<-w.C
	c.SetAll(map[string]*snapshot.Snapshot{"edge": one})
	<-w.C // it is ready now
	if c.Get("edge") != one || c.Get("another") != snapshot.Empty {
		t.Fatal("got another snapshot")
	}
	c.SetAll(map[string]*snapshot.Snapshot{"edge": one, "other": one})
	c.Set("other", snapshot.Empty)
	select {
	case <-w.C:
		t.Fatal("rang for another fleet")
	default:
	}
	c.Set("edge", snapshot.Empty)
	c.Set("edge", one) // two changes, one ring, the latest
	<-w.C
	select {
	case <-w.C:
		t.Fatal("rang twice")
	default:
	}
	if c.Get("edge") != one {
		t.Fatal("not the latest")
	}
	c.SetAll(nil)
	<-w.C
	if c.Get("edge") != snapshot.Empty {
		t.Fatal("a fleet that is gone is not empty")
	}
	w.Stop()
	w.Stop()
}
