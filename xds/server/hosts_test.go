package server_test

import (
	"maps"
	"testing"

	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	"google.golang.org/protobuf/proto"
)

const vhds = resource.VirtualHostType

// hosted is world() with the hosts of its table apart: r/x and r/y.
func hosted(changes ...proto.Message) []proto.Message {
	return world(append([]proto.Message{xdstest.Table("r"), xdstest.Host("r", "x", "a"), xdstest.Host("r", "y", "b")}, changes...)...)
}

// second is another listener with a table of its own.
func second(clusters ...string) []proto.Message {
	return []proto.Message{xdstest.Listener("l2", "r2", "1", ""), xdstest.Table("r2"), xdstest.Host("r2", "z", clusters...)}
}

// connectHosted plays Envoy: it asks for hosts when a table without has come, and by the wildcard.
func connectHosted(s *xdstest.Stream) {
	connect(s)
	s.Subscribe(vhds)
	s.ExpectAck("VHDS r/x r/y")
	s.Silent(vhds)
}

// Rules 12 and 13: hosts come behind their table, though nobody asks for them, and never before it: Envoy would lose them, and
// the listener would hang. SnapshotCache sends them ahead of listener and table, and not again.
func TestHostsBehindTables(t *testing.T) {
	rule := func(t testing.TB, c control, isDelta bool) {
		c.set(hosted()...)
		s := c.stream(isDelta)
		connect(s)
		s.Subscribe(vhds)
		s.ExpectAck("VHDS r/x r/y")
		c.set(hosted(second("a")...)...)
		s.ExpectAck("LDS l2")
		s.Subscribe(rds, "r2")
		s.ExpectAck("RDS r2")
		s.ExpectAck("VHDS r2/z")
	}
	rule(t, ours(t), true)
	bites(t, "go-control-plane", theirs(false), true, rule)
}

// A table that is asked for anew was forgotten, and its hosts with it; before it is asked for, they are not sent.
func TestHostsAgain(t *testing.T) {
	c := ours(t)
	c.set(hosted()...)
	s := c.stream(true)
	connectHosted(s)
	c.set(hosted(second("a")...)...)
	s.ExpectAck("LDS l2")
	s.Silent(vhds)
	for range 2 {
		s.Subscribe(rds, "r2")
		s.ExpectAck("RDS r2")
		s.ExpectAck("VHDS r2/z")
		s.Silent(vhds)
	}
	s.Unsubscribe(rds, "r2")
	s.Subscribe(rds, "r2")
	s.ExpectAck("RDS r2")
	s.ExpectAck("VHDS r2/z")
	s.Silent(vhds)
}

// One host's edit sends that host, and a removal the removal.
func TestHostsAlone(t *testing.T) {
	c := ours(t)
	c.set(hosted()...)
	s := c.stream(true)
	connectHosted(s)
	c.set(hosted(xdstest.Host("r", "x", "a", "b"))...)
	s.ExpectAck("VHDS r/x")
	c.set(without(hosted(xdstest.Host("r", "x", "a", "b")), xdstest.Host("r", "y"))...)
	s.ExpectAck("VHDS -r/y")
	s.Silent(vhds)
	for _, typeURL := range []string{rds, vhds} {
		c.ours.Recorder.Wait(t, "acked "+xdstest.Short(typeURL)+" "+c.ours.Cache.Get(fleet).Version(typeURL))
	}
}

// Rule 12: a cluster goes when the host without it was accepted, and not when it was sent or refused.
func TestHostsHoldClusters(t *testing.T) {
	c := ours(t)
	c.set(hosted()...)
	s := c.stream(true)
	connectHosted(s)
	less := without(hosted(xdstest.Host("r", "y", "a")), xdstest.Cluster("b", 0), xdstest.Endpoints("b"))
	c.set(less...)
	host := s.Expect("VHDS r/y")
	s.Silent(sds)
	s.Nack(host, "no")
	s.Silent(sds)
	c.set(append(without(less, xdstest.Host("r", "y")), xdstest.Host("r", "y", "a", "a"))...)
	s.ExpectAck("VHDS r/y")
	s.ExpectAck("CDS -b")
	s.ExpectAck("EDS -b")
}

// A new table comes when all of its hosts can; a host that is edited waits alone.
func TestHostsWaitForClusters(t *testing.T) {
	c := ours(t)
	c.set(hosted()...)
	s := c.stream(true)
	connectHosted(s)
	added := append(second("c"), xdstest.Cluster("c", 1e9), xdstest.Endpoints("c", "127.0.0.1:3"), xdstest.Host("r", "x", "c"), xdstest.Host("r", "y", "a"))
	c.set(hosted(added...)...)
	clusters := s.Expect("CDS c")
	s.ExpectAck("LDS l2")
	s.Subscribe(rds, "r2")
	s.ExpectAck("VHDS r/y")
	s.Silent(vhds)
	s.Ack(clusters)
	s.ExpectAck("RDS r2")
	s.ExpectAck("VHDS r/x r2/z")
	s.Silent(vhds)
}

// A listener that went drains with its hosts: they are removed when the client gives the table up.
func TestHostsDrain(t *testing.T) {
	c := ours(t)
	c.set(hosted(second("a")...)...)
	s := c.stream(true)
	s.Subscribe(cds)
	s.ExpectAck("CDS a b")
	s.Subscribe(lds)
	s.ExpectAck("LDS l l2")
	s.Subscribe(rds, "r", "r2")
	s.ExpectAck("RDS r r2")
	s.Subscribe(vhds)
	s.ExpectAck("VHDS r/x r/y r2/z")
	c.set(hosted()...)
	s.ExpectAck("LDS -l2")
	s.ExpectAck("RDS -r2")
	s.Silent(vhds)
	s.Unsubscribe(rds, "r2")
	s.ExpectAck("VHDS -r2/z")
	s.Silent(vhds)
}

// Rule 10: who comes back gets what it has not.
func TestHostsReconnect(t *testing.T) {
	c := ours(t)
	c.set(hosted()...)
	s := c.stream(true)
	connect(s)
	s.Subscribe(vhds)
	has := s.ExpectAck("VHDS r/x r/y").Versions
	s.Close()
	c.set(hosted(xdstest.Host("r", "y", "a"))...)
	has = maps.Clone(has)
	has["r/old"] = "1"
	again := c.stream(true)
	again.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: rds, ResourceNamesSubscribe: []string{"r"},
		InitialResourceVersions: map[string]string{"r": c.ours.Cache.Get(fleet).Set(rds).Get("r").Version}})
	again.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: vhds, InitialResourceVersions: has})
	again.ExpectAck("VHDS r/y -r/old")
	again.Silent(vhds)
}

// State of the world has no VHDS: there the table is whole.
func TestHostsInWholeTables(t *testing.T) {
	c := ours(t)
	c.set(hosted()...)
	s := c.stream(false)
	begin(s)
	c.set(hosted(xdstest.Host("r", "y", "a"))...)
	m, err := s.ExpectAck("RDS r").Any["r"].UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	want := xdstest.Table("r")
	want.Vhds = nil
	want.VirtualHosts = []*routepb.VirtualHost{xdstest.Host("r", "x", "a"), xdstest.Host("r", "y", "a")}
	if !proto.Equal(m, want) {
		t.Errorf("got %v, want %v", m, want)
	}
	for _, typeURL := range []string{rds, vhds} {
		c.ours.Recorder.Wait(t, "acked "+xdstest.Short(typeURL)+" "+c.ours.Cache.Get(fleet).Version(typeURL))
	}
}
