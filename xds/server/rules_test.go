package server_test

import (
	"fmt"
	"strings"
	"testing"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	rpcpb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Rule 1: the node is on the first request only; a nonce is of its stream; the version is per type and survives.
func TestRule01Node(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		connect(s) // only its first request has the node
		c.ours.Recorder.Wait(t, "node test edge")

		s = c.stream(isDelta)
		if isDelta {
			s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: cds, Node: &corepb.Node{}})
		} else {
			s.SendSotW(&discoverypb.DiscoveryRequest{TypeUrl: cds, Node: &corepb.Node{}})
		}
		if err := s.Ended(); status.Code(err) != codes.InvalidArgument {
			t.Fatalf("no node.id: got %v, want InvalidArgument", err)
		}
	})
}

func TestRule01NonceOfAnotherStream(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		one, two := c.stream(isDelta), c.stream(isDelta)
		one.Subscribe(cds)
		foreign := one.Expect("CDS a b")
		two.Subscribe(cds)
		own := two.Expect("CDS a b")
		if foreign.Nonce == own.Nonce {
			t.Fatal("two streams have the same nonce")
		}
		two.Nack(foreign, "not mine")
		two.Ack(own)
		two.Subscribe(rds, "r")
		two.ExpectAck("RDS r") // the barrier: whatever the NACK did is done
		for _, line := range c.ours.Recorder.Lines() {
			if strings.Contains(line, "nacked") {
				t.Fatalf("a foreign nonce counted: %s", line)
			}
		}
	})
}

// A version is of the content, so it means the same on every stream, and after a restart. What it does not mean is that
// the client needs nothing: it may have used a part of what it refused after it.
func TestRule01VersionSurvivesAReconnect(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(false)
	s.Subscribe(cds)
	r := s.ExpectAck("CDS a b")
	c.ours.Stop()
	c.ours.Restart()

	s = c.stream(false)
	s.SendSotW(&discoverypb.DiscoveryRequest{TypeUrl: cds, VersionInfo: r.Version})
	if again := s.ExpectAck("CDS a b"); again.Version != r.Version {
		t.Fatalf("got version %s, and %s before", again.Version, r.Version)
	}
	s.Silent(rds)
	c.ours.Recorder.Wait(t, "acked CDS "+r.Version)
}

// Rule 2: a NACK is the presence of error_detail, and nothing else is.
func TestRule02NackIsErrorDetail(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(false)
	s.Subscribe(cds)
	r := s.Expect("CDS a b")
	s.SendSotW(&discoverypb.DiscoveryRequest{TypeUrl: cds, ResponseNonce: r.Nonce, VersionInfo: "an old one"})
	c.ours.Recorder.Wait(t, "acked CDS "+r.Version)
	c.set(world(xdstest.Cluster("a", 2e9))...)
	r = s.Expect("CDS a b")
	s.SendSotW(&discoverypb.DiscoveryRequest{
		TypeUrl: cds, ResponseNonce: r.Nonce, VersionInfo: r.Version, ErrorDetail: &rpcpb.Status{},
	})
	c.ours.Recorder.Wait(t, "nacked CDS "+r.Version)
}

// Rule 3: no answer to an ACK, nor to a NACK, until something changes.
func TestRule03NoAnswerToAVerdict(t *testing.T) {
	rule := func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(cds)
		s.ExpectAck("CDS a b")
		s.Silent(rds)
		c.set(world(xdstest.Cluster("a", 2e9))...)
		r := s.Next()
		s.Nack(r, "no")
		s.Silent(rds)
	}
	both(t, rule)
	bites(t, "go-control-plane", theirs(false), false, rule)
}

func TestRule03ParkedUntilItChanges(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(cds)
		good := s.ExpectAck("CDS a b")
		c.set(world(xdstest.Cluster("a", 2e9))...)
		bad := s.Next()
		s.Nack(bad, "a is bad")
		s.Silent(rds)

		// Another change goes out without the parked one, of which the last accepted version stands.
		c.set(world(xdstest.Cluster("a", 2e9), xdstest.Cluster("b", 2e9))...)
		if isDelta {
			s.ExpectAck("CDS b")
		} else if r := s.ExpectAck("CDS a b"); string(r.Any["a"].Value) != string(good.Any["a"].Value) {
			t.Fatal("the parked version was sent again")
		}
		s.Silent(rds)
		for _, line := range c.ours.Recorder.Lines() {
			if v := c.ours.Cache.Get(fleet).Version(cds); strings.Contains(line, "acked CDS "+v) {
				t.Fatalf("counts as in sync: %s", line)
			}
		}

		c.set(world(xdstest.Cluster("a", 3e9), xdstest.Cluster("b", 2e9))...)
		if isDelta {
			s.ExpectAck("CDS a")
		} else {
			s.ExpectAck("CDS a b")
		}
		c.ours.Recorder.Wait(t, "acked CDS "+c.ours.Cache.Get(fleet).Version(cds))
	})
}

// Of two responses under way the first is refused, the second accepted: that is not in sync.
func TestRule03RefusedBeforeAnotherIsAccepted(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(true)
	s.Subscribe(cds)
	first := s.Expect("CDS a b")
	c.set(world(xdstest.Cluster("c", 1e9))...)
	second := s.Expect("CDS c")
	s.Nack(first, "a is bad")
	s.Ack(second)
	s.Silent(rds)
	version := c.ours.Cache.Get(fleet).Version(cds)
	for _, line := range c.ours.Recorder.Lines() {
		if strings.Contains(line, "acked CDS "+version) {
			t.Fatalf("counts as in sync: %s", line)
		}
	}
	c.set(world(xdstest.Cluster("a", 3e9), xdstest.Cluster("c", 1e9))...)
	s.ExpectAck("CDS a b")
	c.ours.Recorder.Wait(t, "acked CDS "+c.ours.Cache.Get(fleet).Version(cds))
}

// All of a refused response is in doubt, and is tried again with a change of any of it.
func TestRule03DoubtEndsWithAChange(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(eds, "a", "b")
		s.ExpectAck("EDS a b")
		c.set(world(xdstest.Endpoints("a", "127.0.0.1:3"), xdstest.Endpoints("b", "127.0.0.1:4"))...)
		s.Nack(s.Expect("EDS a b"), "a is bad")
		s.Silent(rds)
		c.set(world(xdstest.Endpoints("a", "127.0.0.1:5"), xdstest.Endpoints("b", "127.0.0.1:4"))...)
		s.ExpectAck("EDS a b")
		// Back to what was accepted before the doubt: sent all the same, as nobody knows what took effect.
		c.set(world(xdstest.Endpoints("a", "127.0.0.1:6"), xdstest.Endpoints("b", "127.0.0.1:7"))...)
		s.Nack(s.Expect("EDS a b"), "b is bad")
		c.set(world(xdstest.Endpoints("a", "127.0.0.1:5"), xdstest.Endpoints("b", "127.0.0.1:4"))...)
		s.ExpectAck("EDS a b")
		c.ours.Recorder.Wait(t, "acked EDS "+c.ours.Cache.Get(fleet).Version(eds))
		s.Silent(rds)
	})
}

// Rule 4: a stale nonce gets no answer in state of the world, and cancels no change of the subscription in delta.
func TestRule04StaleNonce(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(eds, "a")
		old := s.ExpectAck("EDS a")
		c.set(world(xdstest.Endpoints("a", "127.0.0.1:3"))...)
		now := s.Expect("EDS a")
		if isDelta {
			s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: eds, ResponseNonce: old.Nonce, ResourceNamesSubscribe: []string{"b"}})
			s.ExpectAck("EDS b")
			s.Ack(now)
			return
		}
		s.SendSotW(&discoverypb.DiscoveryRequest{TypeUrl: eds, ResponseNonce: old.Nonce, ResourceNames: []string{"a", "b"}})
		s.Silent(rds)
		s.SendSotW(&discoverypb.DiscoveryRequest{TypeUrl: eds, ResponseNonce: now.Nonce, ResourceNames: []string{"a", "b"}})
		s.Expect("EDS b")
	})
}

// Rule 5: a newly named resource is sent even if its version did not change.
func TestRule05NewlyNamed(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(eds, "a")
		s.ExpectAck("EDS a")
		s.Subscribe(eds, "b")
		s.ExpectAck("EDS b")
		s.Unsubscribe(eds, "a")
		s.Silent(rds)
		s.Subscribe(eds, "a")
		s.ExpectAck("EDS a")
	})
}

// A re-subscribed name is sent again: the client may have forgotten it.
func TestRule05SubscribedAgain(t *testing.T) {
	rule := func(t testing.TB, c control, _ bool) {
		c.set(world()...)
		s := c.stream(true)
		s.Subscribe(eds, "a")
		s.ExpectAck("EDS a")
		s.Subscribe(eds, "a")
		if got := s.Collect(rds); fmt.Sprint(got) != "[EDS a]" {
			t.Fatalf("got %q, want EDS a again", got)
		}
	}
	t.Run("Delta", func(t *testing.T) { rule(t, ours(t), true) })
	bites(t, "go-control-plane", theirs(false), true, rule)
}

// Except for what the client says that it has.
func TestRule05InitialVersions(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(true)
	s.Subscribe(eds, "a", "b")
	r := s.ExpectAck("EDS a b")
	s = c.stream(true)
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{
		TypeUrl: eds, ResourceNamesSubscribe: []string{"a", "b"},
		InitialResourceVersions: map[string]string{"a": r.Versions["a"], "b": "another"},
	})
	s.ExpectAck("EDS b")
	s.Silent(rds)
	s.Subscribe(eds, "a")
	s.ExpectAck("EDS a")
}

// In state of the world a client that comes back is sent all that it names: its version says which snapshot it had, and
// not which names of it.
func TestRule05NamedAfterAReconnect(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(false)
	s.Subscribe(eds, "a")
	r := s.ExpectAck("EDS a")
	s = c.stream(false)
	s.SendSotW(&discoverypb.DiscoveryRequest{TypeUrl: eds, VersionInfo: r.Version, ResourceNames: []string{"a", "b"}})
	s.ExpectAck("EDS a b")
}

// Rule 6: the wildcard algebra (its table is TestSubscription*); here on the wire.
func TestRule06NoNamesAfterNames(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(cds, "a")
		s.ExpectAck("CDS a")
		s.Unsubscribe(cds, "a")
		s.Silent(rds)
		c.set(world(xdstest.Cluster("a", 2e9), xdstest.Cluster("b", 2e9))...)
		s.Silent(rds)
	})
}

func TestRule06NotForEveryType(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(eds)
		s.Silent(rds)
	})
}

func TestRule06LegacyWildcardUnsubscribed(t *testing.T) {
	rule := func(t testing.TB, c control, _ bool) {
		c.set(world()...)
		s := c.stream(true)
		s.Subscribe(cds)
		s.ExpectAck("CDS a b")
		s.Unsubscribe(cds, "*")
		s.Silent(rds)
		c.set(world(xdstest.Cluster("b", 3e9))...)
		s.Silent(rds)
	}
	t.Run("Delta", func(t *testing.T) { rule(t, ours(t), true) })
	bites(t, "go-control-plane", theirs(false), true, rule)
}

func TestRule06LegacyWildcard(t *testing.T) {
	t.Run("Delta", func(t *testing.T) {
		c := ours(t)
		c.set(world()...)
		s := c.stream(true)
		s.Subscribe(cds)
		s.ExpectAck("CDS a b")
		s.Subscribe(cds, "a") // the wildcard stays
		for _, r := range s.Collect(rds) {
			s.Ack(r)
		}
		c.set(world(xdstest.Cluster("b", 2e9))...)
		s.ExpectAck("CDS b")
		s.Unsubscribe(cds, "*") // a stays
		s.Silent(rds)
		c.set(world(xdstest.Cluster("b", 3e9))...)
		s.Silent(rds)
		c.set(world(xdstest.Cluster("a", 3e9), xdstest.Cluster("b", 3e9))...)
		s.ExpectAck("CDS a")
	})
}

// Rule 7: what is unsubscribed while the wildcard holds is sent, or removed.
func TestRule07UnsubscribedUnderAWildcard(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(true)
	s.Subscribe(cds, "*", "a", "nothing")
	s.ExpectAck("CDS a b -nothing")
	s.Unsubscribe(cds, "a")
	s.ExpectAck("CDS a")
	s.Unsubscribe(cds, "nothing")
	s.ExpectAck("CDS -nothing")
	s.Silent(rds)
}

// Rule 8: CDS and LDS are the full state; the others are partial; after an unsubscribe-all there is nothing to say.
func TestRule08FullState(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(false)
	connect(s)
	c.set(world(xdstest.Cluster("a", 2e9), xdstest.Endpoints("b", "127.0.0.1:5"))...)
	s.ExpectAck("CDS a b")
	s.ExpectAck("EDS a b") // b changed, and a is behind its cluster
	c.set(world(xdstest.Cluster("a", 2e9))...)
	s.ExpectAck("EDS b")
	s.Silent(rds)
}

func TestRule08NoNameTwice(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(cds, "a", "*", "a")
		s.ExpectAck("CDS a b")
		s.Subscribe(eds, "a", "a")
		s.ExpectAck("EDS a")
	})
}

func TestRule08UnsubscribedFromAll(t *testing.T) {
	rule := func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(cds, "a")
		s.ExpectAck("CDS a")
		s.Unsubscribe(cds, "a")
		s.Silent(rds)
		c.set(world(xdstest.Cluster("a", 2e9))...)
		s.Silent(rds)
	}
	both(t, rule)
	bites(t, "go-control-plane", theirs(false), false, rule)
}

// Rule 9: what does not exist.
func TestRule09NotThere(t *testing.T) {
	rule := func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		for _, typeURL := range []string{eds, sds} {
			s.Subscribe(typeURL, "nothing")
			got := fmt.Sprint(s.Collect(rds))
			if want := map[bool]string{false: "[]", true: "[" + xdstest.Short(typeURL) + " -nothing]"}[isDelta]; got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
		for _, typeURL := range []string{cds, lds} {
			s.Subscribe(typeURL, "nothing")
			got := fmt.Sprint(s.Collect(rds))
			if want := map[bool]string{false: "[" + xdstest.Short(typeURL) + "]", true: "[" + xdstest.Short(typeURL) + " -nothing]"}[isDelta]; got != want {
				t.Fatalf("got %s, want %s", got, want)
			}
		}
	}
	both(t, rule)
	bites(t, "go-control-plane", theirs(false), true, rule)
}

func TestRule09Created(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(eds, "new")
		if isDelta {
			s.ExpectAck("EDS -new")
		}
		s.Subscribe(cds, "new")
		s.ExpectAck(map[bool]string{false: "CDS", true: "CDS -new"}[isDelta])
		s.Silent(rds)
		c.set(world(xdstest.Endpoints("new"), xdstest.Cluster("new", 1e9))...)
		s.ExpectAck("CDS new")
		s.ExpectAck("EDS new")
		s.Silent(rds)
	})
}

// Rule 10: a client that comes back is spared what it has, and told what is gone.
func TestRule10DeltaReconnect(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(true)
	s.Subscribe(cds)
	r := s.ExpectAck("CDS a b")
	s.Close()
	c.ours.Recorder.Wait(t, "closed")

	c.ours.Stop()
	c.set(world(xdstest.Cluster("a", 2e9), xdstest.Cluster("c", 1e9))...)
	c.ours.Restart()
	versions := map[string]string{"a": r.Versions["a"], "b": r.Versions["b"], "old": "x"}
	s = c.stream(true)
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: cds, InitialResourceVersions: versions})
	s.ExpectAck("CDS a c")
	s.ExpectAck("CDS -old") // once it is clear that the client has no listener or route that might use it
	s.Silent(rds)

	s = c.stream(true)
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: eds, ResourceNamesSubscribe: []string{"old"}, InitialResourceVersions: versions})
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: cds, ResourceNamesSubscribe: []string{"b"}, InitialResourceVersions: versions})
	s.ExpectAck("EDS -old")
	s.Silent(rds)
}

// A client that comes back still routes to what is gone: it is removed when the client has the new routes.
func TestRule10RemovalBehindTheRoutes(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(true)
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: cds, InitialResourceVersions: map[string]string{"old": "x"}})
	clusters := s.Expect("CDS a b")
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{
		TypeUrl: eds, ResourceNamesSubscribe: []string{"old"}, InitialResourceVersions: map[string]string{"old": "x"},
	})
	s.Subscribe(eds, "a", "b")
	s.ExpectAck("EDS a b")
	s.Ack(clusters)
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: lds, InitialResourceVersions: map[string]string{"l": "x"}})
	s.ExpectAck("LDS l")
	s.SendDelta(&discoverypb.DeltaDiscoveryRequest{
		TypeUrl: rds, ResourceNamesSubscribe: []string{"r"}, InitialResourceVersions: map[string]string{"r": "x"},
	})
	routes := s.Expect("RDS r")
	s.Silent(rds)
	s.Ack(routes)
	s.ExpectAck("CDS -old")
	s.ExpectAck("EDS -old")
	s.Silent(rds)
}

// Rule 11: whoever names one resource gets it.
func TestRule11Subsets(t *testing.T) {
	rule := func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(eds, "a")
		s.Subscribe(cds) // a server that holds the first back answers this one
		s.ExpectAck("EDS a")
		s.ExpectAck("CDS a b")
	}
	both(t, rule)
	bites(t, "go-control-plane in ordered ADS", theirs(true), false, rule)
}
