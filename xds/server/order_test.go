package server_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	"google.golang.org/protobuf/proto"
)

// pick chooses what is said in each protocol.
func pick(isDelta bool, sotw, delta string) string {
	if isDelta {
		return delta
	}
	return sotw
}

// Rule 12: a route never comes before its new cluster, nor before that one's endpoints.
func TestRule12MakeBeforeBreak(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		c.set(world(xdstest.Cluster("c", 1e9), xdstest.Endpoints("c", "127.0.0.1:3"), xdstest.Routes("r", "a", "c"))...)
		clusters := s.Expect(pick(isDelta, "CDS a b c", "CDS c")) // Envoy withholds its verdict
		s.Silent(rds)
		s.Subscribe(eds, "c")
		s.ExpectAck("EDS c")
		s.ExpectAck("RDS r")
		s.Ack(clusters)
		s.Silent(rds)
	})
}

// An accepted cluster is enough, if the client asks for no endpoints.
func TestRule12AcceptedIsGiven(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		c.set(world(xdstest.Cluster("c", 1e9), xdstest.Routes("r", "a", "c"), xdstest.TCPListener("tcp", "c"))...)
		clusters := s.Expect(pick(isDelta, "CDS a b c", "CDS c"))
		s.Silent(rds)
		s.Ack(clusters)
		s.ExpectAck(pick(isDelta, "LDS l tcp", "LDS tcp"))
		s.ExpectAck("RDS r")
		s.Silent(rds)
	})
}

// A client that asks for routes first, and then for the clusters in them by name, as gRPC's do, does not wait.
func TestRule12ByName(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(lds, "l")
		s.ExpectAck("LDS l")
		s.Subscribe(rds, "r")
		s.ExpectAck("RDS r")
		s.Subscribe(cds, "a")
		s.ExpectAck("CDS a")
		s.Subscribe(eds, "a")
		s.ExpectAck("EDS a")
		s.Silent(rds)
	})
}

// A removal waits until the routes without the reference are accepted.
func TestRule12RemovalWaits(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		c.set(without(world(xdstest.Routes("r", "a")), xdstest.Cluster("b", 0), xdstest.Endpoints("b"))...)
		routes := s.Expect("RDS r")
		s.Silent(sds) // whatever is said of clusters comes before secrets
		s.Ack(routes)
		s.ExpectAck(pick(isDelta, "CDS a", "CDS -b"))
		if isDelta {
			s.ExpectAck("EDS -b")
		}
		s.Silent(rds)
		c.ours.Recorder.Wait(t, "acked CDS "+c.ours.Cache.Get(fleet).Version(cds))
	})
}

// A NACK withholds it: that proxy still routes there. Meanwhile a full state still has it.
func TestRule12NackWithholds(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		less := without(world(xdstest.Routes("r", "a")), xdstest.Cluster("b", 0), xdstest.Endpoints("b"))
		c.set(less...)
		s.Nack(s.Expect("RDS r"), "I do not like it")
		s.Silent(rds)

		less = without(world(xdstest.Routes("r", "a"), xdstest.Cluster("a", 2e9)), xdstest.Cluster("b", 0), xdstest.Endpoints("b"))
		c.set(less...)
		s.ExpectAck(pick(isDelta, "CDS a b", "CDS a"))
		s.ExpectAck("EDS a")
		s.Silent(rds)

		for i, m := range less {
			if m, ok := m.(*routepb.RouteConfiguration); ok && m.Name == "r" {
				less[i] = xdstest.Routes("r", "a", "a")
			}
		}
		c.set(less...)
		s.ExpectAck("RDS r")
		s.ExpectAck(pick(isDelta, "CDS a", "CDS -b"))
		if isDelta {
			s.ExpectAck("EDS -b")
		}
		s.Silent(rds)
	})
}

// What routes to a cluster that was refused waits with it; the rest goes on.
func TestRule12RefusedClusterParksItsRoutes(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		c.set(world(xdstest.Cluster("c", 1e9), xdstest.Routes("r", "a", "c"))...)
		s.Nack(s.Expect(pick(isDelta, "CDS a b c", "CDS c")), "c is bad")
		s.Silent(rds)
		c.set(world(xdstest.Cluster("c", 1e9), xdstest.Routes("r", "a", "c"), xdstest.Endpoints("a", "127.0.0.1:9"))...)
		s.ExpectAck("EDS a")
		s.Silent(rds)
		c.set(world(xdstest.Cluster("c", 2e9), xdstest.Routes("r", "a", "c"))...)
		clusters := s.Expect(pick(isDelta, "CDS a b c", "CDS c"))
		s.ExpectAck("EDS a") // back to what it was
		s.Subscribe(eds, "c")
		s.ExpectAck("EDS c")
		s.ExpectAck("RDS r")
		s.Ack(clusters)
		s.Silent(rds)
	})
}

// Removals go from RDS to CDS; a listener that takes over an address comes with the removal of the one that had it.
func TestRule12RemovalsInReverse(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		c.set(append([]proto.Message{
			xdstest.Cluster("c", 1e9), xdstest.Listener("m", "q", "1", ""), xdstest.Routes("q", "c"),
		}, xdstest.Barriers(9)...)...)
		s.ExpectAck(pick(isDelta, "CDS a b c", "CDS c"))
		s.ExpectAck(pick(isDelta, "LDS m", "LDS m -l"))
		if isDelta {
			s.ExpectAck("RDS -r")
		}
		s.ExpectAck(pick(isDelta, "CDS c", "CDS -a -b"))
		if isDelta {
			s.ExpectAck("EDS -a -b")
		}
		s.Unsubscribe(rds, "r")
		s.Unsubscribe(eds, "a", "b")
		s.Subscribe(rds, "q")
		s.ExpectAck("RDS q")
		s.Silent(rds)
	})
}

// A fleet that disappears is emptied in the same order.
func TestRule12FleetDisappears(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		begin(s)
		c.ours.Recorder.Wait(t, "acked RDS")
		c.ours.Remove(fleet)
		s.ExpectAck(pick(isDelta, "LDS", "LDS -l"))
		if isDelta {
			s.ExpectAck("RDS -r")
		}
		s.ExpectAck(pick(isDelta, "CDS", "CDS -a -b"))
		if isDelta {
			s.ExpectAck("EDS -a -b")
		}
		c.set(world()...)
		s.ExpectAck("CDS a b")
	})
}

// static is a cluster that needs no endpoints, since go-control-plane would wait for them to be subscribed.
func static(name string) *clusterpb.Cluster {
	return &clusterpb.Cluster{
		Name: name, ClusterDiscoveryType: &clusterpb.Cluster_Type{Type: clusterpb.Cluster_STATIC},
		LoadAssignment: &endpointpb.ClusterLoadAssignment{ClusterName: name},
	}
}

// A busy stream: the next snapshot comes while the client accepts the one before.
func TestRule12BusyStream(t *testing.T) {
	rule := func(pushes int) func(t testing.TB, c control, isDelta bool) {
		return func(t testing.TB, c control, isDelta bool) {
			c.set(static("c0"), xdstest.Listener("l", "r", "1", ""), xdstest.Routes("r", "c0"))
			s := c.stream(isDelta)
			s.Subscribe(cds)
			s.ExpectAck("CDS c0")
			s.Subscribe(lds)
			s.ExpectAck("LDS l")
			s.Subscribe(rds, "r")
			s.ExpectAck("RDS r")
			has := map[string]bool{"c0": true}
			next := 0
			for seen := 0; seen < pushes; {
				if next == seen {
					next++
					name := fmt.Sprintf("c%d", next)
					c.set(static(name), xdstest.Listener("l", "r", "1", ""), xdstest.Routes("r", name))
				}
				r := s.Next()
				switch r.Type {
				case cds:
					if !isDelta {
						clear(has)
					}
					for _, name := range r.Names {
						has[name] = true
						if name == fmt.Sprintf("c%d", next) {
							seen = next // on with it, before the verdict
						}
					}
					for _, name := range r.Removed {
						delete(has, name)
					}
				case rds:
					if to := routeTo(t, r); !has[to] {
						t.Fatalf("push %d: a route to %s, and the clusters are %v", next, to, has)
					}
				}
				s.Ack(r)
			}
		}
	}
	both(t, rule(300))
	bites(t, "go-control-plane in ordered ADS", theirs(true), false, rule(20_000))
}

func routeTo(t testing.TB, r *xdstest.Response) string {
	m := &routepb.RouteConfiguration{}
	if err := r.Any["r"].UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m.GetVirtualHosts()[0].GetRoutes()[0].GetRoute().GetCluster()
}

// Rule 13: a changed cluster needs its endpoints again, right behind it, before its verdict.
func TestRule13EndpointsBehindACluster(t *testing.T) {
	rule := func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		c.set(world(xdstest.Cluster("a", 2e9))...)
		clusters := s.Next()
		var got []string
		for _, r := range s.Collect(rds) {
			got = append(got, r.String())
			s.Ack(r)
		}
		if strings.Join(got, ", ") != "EDS a" {
			t.Fatalf("got %q behind %q, want EDS a", got, clusters)
		}
		s.Ack(clusters)
		s.Silent(rds)
	}
	both(t, rule)
	bites(t, "go-control-plane", theirs(false), false, rule)
	bites(t, "go-control-plane", theirs(false), true, rule)
}

func TestRule13BehindAListenerAndSecrets(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		tls := func(mark string, timeout time.Duration) []proto.Message {
			return world(xdstest.Listener("l", "r", mark, "cert"), xdstest.SecureCluster("a", timeout, "ca"),
				xdstest.Secret("cert", "1"), xdstest.Secret("ca", "1"))
		}
		c.set(tls("1", 1e9)...)
		s := c.stream(isDelta)
		connect(s)
		s.Subscribe(sds, "cert", "ca")
		s.ExpectAck("SDS ca cert")
		s.Silent(rds)
		c.set(tls("2", 1e9)...)
		s.ExpectAck("LDS l")
		s.ExpectAck("SDS cert")
		s.ExpectAck("RDS r")
		s.Silent(rds)
		c.set(tls("2", 2e9)...)
		s.ExpectAck(pick(isDelta, "CDS a b", "CDS a"))
		s.ExpectAck("EDS a")
		s.ExpectAck("SDS ca")
		s.Silent(rds)
	})
}

// Also if the client came back, has the endpoints and says so, but has an older cluster.
func TestRule13AfterAReconnect(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(true)
	s.Subscribe(eds, "a", "b")
	has := s.ExpectAck("EDS a b").Versions
	s = c.stream(true)
	s.Subscribe(cds, "b")
	b := s.ExpectAck("CDS b").Versions["b"]
	s = c.stream(true)
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: cds, InitialResourceVersions: map[string]string{"a": "old", "b": b}})
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: eds, ResourceNamesSubscribe: []string{"a", "b"}, InitialResourceVersions: has})
	s.ExpectAck("CDS a")
	s.ExpectAck("EDS a")
	s.Silent(rds)
}

// Rule 14: no endpoints is an empty assignment.
func TestRule14NoEndpoints(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world(xdstest.Cluster("c", 1e9))...)
		s := c.stream(isDelta)
		s.Subscribe(eds, "c")
		s.ExpectAck("EDS c")
		c.set(world(xdstest.Cluster("c", 1e9), xdstest.Endpoints("c", "127.0.0.1:1"))...)
		s.ExpectAck("EDS c")
		c.set(world(xdstest.Cluster("c", 1e9))...)
		r := s.ExpectAck("EDS c")
		a := &endpointpb.ClusterLoadAssignment{}
		if err := r.Any["c"].UnmarshalTo(a); err != nil || len(a.GetEndpoints()) != 0 {
			t.Fatalf("got %v, want an empty assignment", a)
		}
	})
}

// Rule 15: nothing is served before the first full build, also if one fleet is there already.
func TestRule15NotReady(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		s := c.stream(isDelta)
		s.Subscribe(cds)
		c.ours.Recorder.Wait(t, "node test edge")
		other := xdstest.Start(t, nil).Set("x", xdstest.Cluster("early", 1e9))
		c.ours.Cache.Set(fleet, other)
		if c.ours.Cache.Ready() || c.ours.Cache.Get(fleet) != nil {
			t.Fatal("the cache is ready before SetAll")
		}
		c.set(world()...)
		s.ExpectAck("CDS a b") // the first thing that it hears
	})
}

// A fleet without a Gateway is there, and empty: a proxy that starts in it is answered.
func TestRule15EmptyFleet(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.ours.Set("another")
		s := c.stream(isDelta)
		s.Subscribe(cds)
		s.ExpectAck("CDS")
		s.Subscribe(lds)
		s.ExpectAck("LDS")
		c.ours.Recorder.Wait(t, "acked LDS")
		c.set(xdstest.Cluster("a", 1e9))
		s.ExpectAck("CDS a")
	})
}

// Rule 18: names do not depend on an index, so another order of the rules is another route configuration and no more.
func TestRule18Reordered(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		all := world(xdstest.Routes("r", "b", "a"))
		slices.Reverse(all)
		c.set(all...)
		s.ExpectAck("RDS r")
		s.Silent(rds)
	})
}

// What was not changed is not sent, whoever rebuilt it: a comment in a definition, a control plane restarted.
func TestUnchangedIsNotSent(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		before := c.ours.Set(fleet, world()...)
		s := c.stream(isDelta)
		connect(s)
		if c.ours.Set(fleet, world()...) != before {
			t.Fatal("the same content is another snapshot")
		}
		s.Silent(rds)
	})
	t.Run("Restarted", func(t *testing.T) {
		c := ours(t)
		c.set(world()...)
		s := c.stream(true)
		versions := map[string]map[string]string{}
		types := []string{cds, eds, lds, rds}
		subscribe := map[string][]string{eds: {"a", "b"}, rds: {"r"}}
		for _, typeURL := range types {
			s.Subscribe(typeURL, subscribe[typeURL]...)
			r := s.Next()
			s.Ack(r)
			versions[typeURL] = r.Versions
		}
		c2 := ours(t)
		c2.set(world()...)
		s = c2.stream(true)
		for _, typeURL := range types {
			s.SendDelta(&discoverypb.DeltaDiscoveryRequest{
				TypeUrl: typeURL, ResourceNamesSubscribe: subscribe[typeURL], InitialResourceVersions: versions[typeURL],
			})
		}
		s.Silent(rds)
		for _, typeURL := range types {
			c2.ours.Recorder.Wait(t, "acked "+xdstest.Short(typeURL)+" "+c2.ours.Cache.Get(fleet).Version(typeURL))
		}
	})
}

// A type of which a change concerns this client not at all is in sync at once.
func TestObserverOfWhatIsNotWanted(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(eds, "a")
		s.ExpectAck("EDS a")
		c.ours.Recorder.Wait(t, "acked EDS "+c.ours.Cache.Get(fleet).Version(eds))
		c.set(world(xdstest.Endpoints("b", "127.0.0.1:9"))...)
		c.ours.Recorder.Wait(t, "acked EDS "+c.ours.Cache.Get(fleet).Version(eds))
	})
}

// A version that a client refused, and that is taken back, leaves the client in sync.
func TestObserverOfWhatIsTakenBack(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s)
		good := c.ours.Cache.Get(fleet).Version(lds)
		c.set(world(xdstest.Listener("l", "r", "2", ""))...)
		s.Nack(s.Expect("LDS l"), "no")
		s.ExpectAck("RDS r") // right behind the listener, whatever becomes of it
		c.ours.Recorder.Wait(t, "nacked LDS "+c.ours.Cache.Get(fleet).Version(lds)+" no")
		s.Silent(rds)
		c.ours.Recorder.Reset()
		c.set(world()...)
		s.ExpectAck("LDS l")
		s.ExpectAck("RDS r")
		c.ours.Recorder.Wait(t, "acked LDS "+good)
	})
}
