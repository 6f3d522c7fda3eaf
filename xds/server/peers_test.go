package server_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachetypes "github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachepeer "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	serverpeer "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	cds = resource.ClusterType
	eds = resource.EndpointType
	sds = resource.SecretType
	lds = resource.ListenerType
	rds = resource.RouteType
)

// fleet is the fleet of all tests.
const fleet = "edge"

// control is a control plane under test: ours, or go-control-plane's SnapshotCache behind its server.
type control struct {
	set    func(resources ...proto.Message)
	stream func(isDelta bool) *xdstest.Stream
	ours   *xdstest.Server // nil for the other
}

type peer func(t testing.TB) control

// ours is our server.
func ours(t testing.TB) control {
	s := xdstest.Start(t, nil)
	return control{
		ours:   s,
		set:    func(resources ...proto.Message) { s.Set(fleet, resources...) },
		stream: func(isDelta bool) *xdstest.Stream { return s.Stream(fleet, isDelta) },
	}
}

// theirs is go-control-plane, with content-hash versions as ours.
func theirs(ads bool) peer {
	return func(t testing.TB) control {
		cache := cachepeer.NewSnapshotCache(ads, byCluster{}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		g := grpc.NewServer()
		discoverypb.RegisterAggregatedDiscoveryServiceServer(g, serverpeer.NewServer(ctx, cache, nil))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = g.Serve(l) }()
		t.Cleanup(func() {
			cancel()
			g.Stop()
			<-done
		})
		return control{
			set: func(resources ...proto.Message) {
				if err := cache.SetSnapshot(ctx, fleet, theirSnapshot(t, resources)); err != nil {
					t.Error(err)
				}
			},
			stream: func(isDelta bool) *xdstest.Stream {
				s := xdstest.Open(t, context.Background(), xdstest.Dial(t, l.Addr().String()), fleet, isDelta)
				s.Whole = true
				return s
			},
		}
	}
}

func theirSnapshot(t testing.TB, resources []proto.Message) *cachepeer.Snapshot {
	all := xdstest.Resources(resources...)
	version, err := snapshot.Build(all, nil)
	if err != nil {
		t.Fatal(err)
	}
	snap := &cachepeer.Snapshot{}
	for _, k := range resource.PushOrder {
		var items []cachetypes.Resource
		for _, m := range all[k.URL] {
			items = append(items, m)
		}
		snap.Resources[cachepeer.GetResponseType(k.URL)] = cachepeer.NewResources(version.Version(k.URL), items)
	}
	return snap
}

type byCluster struct{}

func (byCluster) ID(n *corepb.Node) string { return n.GetCluster() }

// both runs a test on our server in both protocols.
func both(t *testing.T, test func(t testing.TB, c control, isDelta bool)) {
	for _, isDelta := range []bool{false, true} {
		t.Run(protocol(isDelta), func(t *testing.T) { test(t, ours(t), isDelta) })
	}
}

func protocol(isDelta bool) string {
	if isDelta {
		return "Delta"
	}
	return "SotW"
}

// bites runs the same test on a server that is known to break the rule: it must fail there.
func bites(t *testing.T, name string, p peer, isDelta bool, test func(t testing.TB, c control, isDelta bool)) {
	t.Run(name+" breaks it in "+protocol(isDelta), func(t *testing.T) {
		f := &failing{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			test(f, p(f), isDelta)
		}()
		<-done
		if f.failure == "" {
			t.Fatal("the test passes where it must not: it does not bite")
		}
		t.Logf("as it should: %s", f.failure)
	})
}

// failing is a test whose failure is a success.
type failing struct {
	testing.TB
	failure string
}

func (f *failing) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }
func (f *failing) Fatal(args ...any) {
	f.failure = fmt.Sprint(args...)
	runtime.Goexit()
}

// the world of most tests: listener l → routes r → clusters a and b.
func world(changes ...proto.Message) []proto.Message {
	all := append([]proto.Message{
		xdstest.Cluster("a", 1e9), xdstest.Cluster("b", 1e9),
		xdstest.Endpoints("a", "127.0.0.1:1"), xdstest.Endpoints("b", "127.0.0.1:2"),
		xdstest.Listener("l", "r", "1", ""),
		xdstest.Routes("r", "a", "b"),
	}, xdstest.Barriers(12)...)
	for _, change := range changes {
		found := false
		for i, m := range all {
			if proto.MessageName(m) == proto.MessageName(change) && xdstest.NameOf(m) == xdstest.NameOf(change) {
				all[i], found = change, true
			}
		}
		if !found {
			all = append(all, change)
		}
	}
	return all
}

// without leaves resources out.
func without(all []proto.Message, gone ...proto.Message) []proto.Message {
	var kept []proto.Message
	for _, m := range all {
		keep := true
		for _, g := range gone {
			keep = keep && !(proto.MessageName(m) == proto.MessageName(g) && xdstest.NameOf(m) == xdstest.NameOf(g))
		}
		if keep {
			kept = append(kept, m)
		}
	}
	return kept
}

// connect plays a proxy that starts: it has all of world() when connect returns.
func connect(s *xdstest.Stream) {
	begin(s)
	s.Silent(rds) // the verdicts have arrived
}

// begin is connect, but the last verdicts may still be under way.
func begin(s *xdstest.Stream) {
	s.Subscribe(cds)
	clusters := s.Expect("CDS a b")
	s.Subscribe(eds, "a", "b")
	s.ExpectAck("EDS a b")
	s.Ack(clusters)
	s.Subscribe(lds)
	s.ExpectAck("LDS l")
	s.Subscribe(rds, "r")
	s.ExpectAck("RDS r")
}
