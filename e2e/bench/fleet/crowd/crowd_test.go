package crowd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/xds/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a server that does what a test says on each stream.
type script struct {
	discoverypb.UnimplementedAggregatedDiscoveryServiceServer
	play func(s *scene) error
}

// scene is a stream of delta, or of the state of the world, as both have the same parts that matter here.
type scene struct {
	receive func() (typeURL, nonce string, names []string, err error)
	send    func(typeURL, nonce string, resources map[string]string) error
}

func (s script) DeltaAggregatedResources(stream discoverypb.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.play(&scene{
		receive: func() (string, string, []string, error) {
			r, err := stream.Recv()
			return r.GetTypeUrl(), r.GetResponseNonce(), r.GetResourceNamesSubscribe(), err
		},
		send: func(typeURL, nonce string, resources map[string]string) error {
			r := &discoverypb.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: nonce}
			for name, text := range resources {
				r.Resources = append(r.Resources, &discoverypb.Resource{Name: name, Version: "1", Resource: packed(typeURL, name, text)})
			}
			return stream.Send(r)
		},
	})
}

func (s script) StreamAggregatedResources(stream discoverypb.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.play(&scene{
		receive: func() (string, string, []string, error) {
			r, err := stream.Recv()
			return r.GetTypeUrl(), r.GetResponseNonce(), r.GetResourceNames(), err
		},
		send: func(typeURL, nonce string, resources map[string]string) error {
			r := &discoverypb.DiscoveryResponse{TypeUrl: typeURL, Nonce: nonce, VersionInfo: nonce}
			for name, text := range resources {
				r.Resources = append(r.Resources, packed(typeURL, name, text))
			}
			return stream.Send(r)
		},
	})
}

// packed is a resource that has its name, and one host with a text, as field 2; if the text is apart, it is a table whose
// hosts come by VHDS, which field 9 says.
func packed(typeURL, name, text string) *anypb.Any {
	value := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name)
	if text == apart {
		value = protowire.AppendString(protowire.AppendTag(value, 9, protowire.BytesType), "")
	} else if text != "" {
		value = protowire.AppendString(protowire.AppendTag(value, 2, protowire.BytesType), text)
	}
	return &anypb.Any{TypeUrl: typeURL, Value: value}
}

const apart = "hosts apart"

// serve starts a server, and makes a crowd for it.
func serve(t *testing.T, isDelta bool, play func(s *scene) error) *Crowd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	discoverypb.RegisterAggregatedDiscoveryServiceServer(g, script{play: play})
	var group sync.WaitGroup
	group.Go(func() { _ = g.Serve(l) })
	t.Cleanup(func() {
		g.Stop()
		group.Wait()
	})
	return New(Options{Address: l.Addr().String(), Fleet: "edge", Delta: isDelta, Tables: []string{"table"}})
}

// want is what the next request must be: a type, a nonce that it answers, and how many names.
func (s *scene) want(typeURL, nonce string, names int) error {
	gotType, gotNonce, gotNames, err := s.receive()
	if err == nil && (gotType != typeURL || gotNonce != nonce || len(gotNames) != names) {
		err = status.Errorf(codes.FailedPrecondition, "got %s with nonce %q and %d names, want %s with %q and %d", gotType, gotNonce, len(gotNames), typeURL, nonce, names)
	}
	return err
}

const (
	cds = resource.ClusterType
	eds = resource.EndpointType
	lds = resource.ListenerType
	rds = resource.RouteType
)

// steps runs until the first error.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *scene) wants(typeURL, nonce string, names int) func() error {
	return func() error { return s.want(typeURL, nonce, names) }
}

func (s *scene) sends(typeURL, nonce string, resources map[string]string) func() error {
	return func() error { return s.send(typeURL, nonce, resources) }
}

// many are so many clusters that asking for their endpoints takes more than a window of HTTP/2.
func many(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprintf("cluster-%06d-%s", i, strings.Repeat("x", 40))] = ""
	}
	return all
}

// begin is how every proxy begins: CDS is not ACKed before all endpoints are there, and listeners come after that.
func (s *scene) begin(isDelta bool, clusters map[string]string) error {
	n, acked, tables := len(clusters), 0, 0
	if !isDelta { // which names all in each request
		acked, tables = n, 1
	}
	half, rest := map[string]string{}, map[string]string{}
	for name := range clusters {
		if len(half) < n/2 {
			half[name] = ""
		} else {
			rest[name] = ""
		}
	}
	return steps(
		s.wants(cds, "", 0), s.sends(cds, "c1", clusters), s.wants(eds, "", n),
		s.sends(eds, "e1", half), s.wants(eds, "e1", acked), s.sends(eds, "e2", rest), s.wants(eds, "e2", acked),
		s.wants(cds, "c1", 0), s.wants(lds, "", 0), s.sends(lds, "l1", map[string]string{"listener": ""}),
		s.wants(lds, "l1", 0), s.wants(rds, "", 1), s.sends(rds, "r1", map[string]string{"table": "old"}), s.wants(rds, "r1", tables),
	)
}

// TestSubscribes: the requests and ACKs are Envoy's, in its order, and a request that is larger than the windows gets there.
func TestSubscribes(t *testing.T) {
	for _, isDelta := range []bool{true, false} {
		t.Run(fmt.Sprint("delta=", isDelta), func(t *testing.T) {
			clusters := many(5000)
			c := serve(t, isDelta, func(s *scene) error {
				if err := s.begin(isDelta, clusters); err != nil {
					return err
				}
				_, _, _, err := s.receive() // the end
				return err
			})
			defer c.Leave()
			goal := &Goal{Clusters: len(clusters), Endpoints: len(clusters), Hosts: 1}
			c.Join(3, goal)
			await(t, c, goal)
			if bytes, responses := c.Traffic(); responses != 15 || bytes < 3*2*5000*50 {
				t.Errorf("got %d responses of %d bytes, want 15 of all names twice", responses, bytes)
			}
		})
	}
}

// TestHostsApart: virtual hosts that come by VHDS are asked for once, and are as good as those in a table.
func TestHostsApart(t *testing.T) {
	edit := make(chan struct{})
	c := serve(t, true, func(s *scene) error {
		return steps(
			s.wants(cds, "", 0), s.sends(cds, "c1", nil), s.wants(cds, "c1", 0), s.wants(lds, "", 0), s.sends(lds, "l1", map[string]string{"listener": ""}),
			s.wants(lds, "l1", 0), s.wants(rds, "", 1), s.sends(rds, "r1", map[string]string{"table": apart}), s.wants(rds, "r1", 0),
			s.wants(virtualHostType, "", 0), s.sends(virtualHostType, "v1", map[string]string{"table/a": "a", "table/b": "b"}), s.wants(virtualHostType, "v1", 0),
			func() error { <-edit; return nil },
			s.sends(rds, "r2", map[string]string{"table": apart}), s.wants(rds, "r2", 0),
			s.sends(virtualHostType, "v2", map[string]string{"table/a": "edited"}), s.wants(virtualHostType, "v2", 0),
			func() error { _, _, _, err := s.receive(); return err }, // the end
		)
	})
	defer c.Leave()
	goal := &Goal{Hosts: 2}
	c.Join(1, goal)
	await(t, c, goal)
	goal = &Goal{Hosts: 2, Want: []Want{{Type: rds, Marker: []byte("edited")}}}
	c.Expect(goal)
	close(edit)
	await(t, c, goal)
}

// TestOrdered: who gets a route before its cluster or its endpoints is counted.
func TestOrdered(t *testing.T) {
	for order, want := range map[string]int{"CDS EDS RDS": 0, "RDS CDS EDS": 1, "CDS RDS EDS": 1} {
		t.Run(order, func(t *testing.T) {
			edit := make(chan struct{})
			c := serve(t, true, func(s *scene) error {
				if err := s.begin(true, many(2)); err != nil {
					return err
				}
				<-edit
				for step := range strings.FieldsSeq(order) {
					typeURL, name := map[string]string{"CDS": cds, "EDS": eds, "RDS": rds}[step], "new"
					if step == "RDS" {
						name = "table"
					}
					if err := s.send(typeURL, step, map[string]string{name: "to new"}); err != nil {
						return err
					}
				}
				for {
					if _, _, _, err := s.receive(); err != nil {
						return err
					}
				}
			})
			defer c.Leave()
			goal := &Goal{Clusters: 2, Endpoints: 2, Hosts: 1}
			c.Join(1, goal)
			await(t, c, goal)
			goal = &Goal{Ordered: true, Want: []Want{{Type: cds, Name: "new"}, {Type: eds, Name: "new"}, {Type: rds, Marker: []byte("to new")}}}
			c.Expect(goal)
			close(edit)
			await(t, c, goal)
			if goal.Broken() != want {
				t.Errorf("got %d streams that broke the order, want %d", goal.Broken(), want)
			}
		})
	}
}

// TestServerEnds: what a server says at the end of a stream is the crowd's error.
func TestServerEnds(t *testing.T) {
	c := serve(t, true, func(*scene) error { return status.Error(codes.PermissionDenied, "not you") })
	goal := &Goal{Clusters: 1}
	c.Join(1, goal)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := c.Await(ctx, goal); err == nil || !strings.Contains(err.Error(), "grpc-status=7") || !strings.Contains(err.Error(), "not you") {
		t.Errorf("got the error %v, want the server's", err)
	}
	if err := c.Leave(); err == nil {
		t.Error("got no error at the end, want the server's")
	}
}

func await(t *testing.T, c *Crowd, g *Goal) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := c.Await(ctx, g); err != nil {
		t.Fatal(err)
	}
	if err := c.Quiet(ctx); err != nil {
		t.Fatal(err)
	}
}
