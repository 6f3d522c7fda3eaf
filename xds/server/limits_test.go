package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/xdstest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const strange = "type.googleapis.com/envoy.service.runtime.v3.Runtime"

// What is not served is answered by silence, or as what does not exist; the stream goes on.
func TestUnservedType(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		c.set(world()...)
		s := c.stream(isDelta)
		s.Subscribe(strange, "a", "b")
		if isDelta {
			s.ExpectAck(strange + " -a -b")
		}
		s.Silent(rds)
		c.set(world(xdstest.Cluster("a", 2e9))...)
		s.Subscribe(cds)
		s.ExpectAck("CDS a b")
		s.Silent(rds)
	})
}

func TestNoType(t *testing.T) {
	both(t, func(t testing.TB, c control, isDelta bool) {
		s := c.stream(isDelta)
		s.Subscribe("")
		if err := s.Ended(); status.Code(err) != codes.InvalidArgument {
			t.Fatalf("got %v, want InvalidArgument", err)
		}
	})
}

func TestAuthorize(t *testing.T) {
	for _, isDelta := range []bool{false, true} {
		t.Run(protocol(isDelta), func(t *testing.T) {
			s := xdstest.Start(t, func(o *server.Options) {
				o.Authorize = func(_ context.Context, n server.Node) error {
					if n.Cluster != "mine" {
						return errors.New("not of your certificate")
					}
					return nil
				}
			})
			s.Set("mine", world()...)
			stream := s.Stream("other", isDelta)
			stream.Subscribe(cds)
			if err := stream.Ended(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "not of your certificate") {
				t.Fatalf("got %v, want PermissionDenied with the reason", err)
			}
			stream = s.Stream("mine", isDelta)
			stream.Subscribe(cds)
			stream.ExpectAck("CDS a b")
		})
	}
}

// No node.cluster is the fleet "default".
func TestDefaultFleet(t *testing.T) {
	s := xdstest.Start(t, nil)
	s.Set("default", world()...)
	stream := s.Stream("", true)
	stream.Subscribe(cds)
	stream.ExpectAck("CDS a b")
	s.Recorder.Wait(t, "node test default")
}

func TestNames(t *testing.T) {
	for _, isDelta := range []bool{false, true} {
		t.Run(protocol(isDelta), func(t *testing.T) {
			s := xdstest.Start(t, func(o *server.Options) { o.MaxNames = 10 })
			s.Set(fleet, world()...)
			for name, names := range map[string][]string{
				"many": {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"},
				"long": {strings.Repeat("a", 5000)},
			} {
				stream := s.Stream(fleet, isDelta)
				stream.Subscribe(eds, names...)
				if err := stream.Ended(); status.Code(err) != codes.ResourceExhausted && status.Code(err) != codes.InvalidArgument {
					t.Fatalf("%s: got %v, want a refusal", name, err)
				}
			}
			stream := s.Stream(fleet, true)
			stream.Subscribe(eds, "1", "2", "3", "4", "5", "6")
			stream.Next()
			stream.Subscribe(eds, "7", "8", "9", "10", "11")
			if err := stream.Ended(); status.Code(err) != codes.ResourceExhausted {
				t.Fatalf("got %v, want ResourceExhausted", err)
			}
		})
	}
}

// All names of a stream together are bounded, too: of all types, and with what it says that it has.
func TestNamesBytes(t *testing.T) {
	s := xdstest.Start(t, nil)
	s.Set(fleet, world()...)
	long := func(from string) (names []string) {
		for i := range 3000 {
			names = append(names, fmt.Sprintf("%s-%d-%s", from, i, strings.Repeat("x", 4000)))
		}
		return names
	}
	stream := s.Stream(fleet, true)
	stream.Subscribe(strange, long("a")...)
	stream.Subscribe(strange+"1", long("b")...)
	stream.Unsubscribe(strange, long("a")...)
	stream.Subscribe(strange+"2", long("c")...)
	for stream.Next().Type != strange+"2" { // it goes on: what was let go of does not count
	}
	stream.Subscribe(strange+"3", long("d")...)
	ended := func(s *xdstest.Stream) (err error) {
		for err == nil {
			_, err = s.Receive(xdstest.Patience)
		}
		return err
	}
	if err := ended(stream); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("names: got %v, want ResourceExhausted", err)
	}

	stream = s.Stream(fleet, true)
	for i := range 3 {
		has := map[string]string{}
		for _, name := range long("has") {
			has[name] = "1"
		}
		stream.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: fmt.Sprint(strange, i), ResourceNamesSubscribe: []string{"*"}, InitialResourceVersions: has})
	}
	if err := ended(stream); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("versions: got %v, want ResourceExhausted", err)
	}
}

// A client's text is kept to a length.
func TestErrorText(t *testing.T) {
	c := ours(t)
	c.set(world()...)
	s := c.stream(true)
	s.Subscribe(cds)
	s.Nack(s.Expect("CDS a b"), strings.Repeat("ü", 10_000))
	if line := c.ours.Recorder.Wait(t, "nacked"); len(line) > 4200 {
		t.Fatalf("got a line of %d bytes", len(line))
	}
}

func TestStreamsPerPeer(t *testing.T) {
	s := xdstest.Start(t, func(o *server.Options) { o.MaxStreamsPerPeer = 1 })
	s.Set(fleet, world()...)
	one := s.Stream(fleet, true)
	one.Subscribe(cds)
	one.ExpectAck("CDS a b")
	if err := s.Stream(fleet, true).Ended(); status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("got %v, want ResourceExhausted", err)
	}
	one.Close()
	s.Recorder.Wait(t, "closed")
}

// A stream whose client does not read is ended, and delays nobody.
func TestSendTimeout(t *testing.T) {
	s := xdstest.Start(t, func(o *server.Options) {
		o.SendTimeout = 2 * time.Second
		o.MaxInitial = 2
	})
	var big []proto.Message
	for i := range 2000 {
		c := xdstest.Cluster(fmt.Sprintf("c%d", i), 1e9)
		c.AltStatName = strings.Repeat("x", 2000)
		big = append(big, c)
	}
	s.Set(fleet, big...)
	client := discoverypb.NewAggregatedDiscoveryServiceClient(s.Dial())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	slow, err := client.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.Send(&discoverypb.DiscoveryRequest{TypeUrl: cds, Node: xdstest.Node("slow", fleet)}); err != nil {
		t.Fatal(err)
	}
	s.Recorder.Wait(t, "node slow")
	quick := s.Stream(fleet, true)
	quick.Subscribe(cds)
	for n := 0; n < 2000; { // in parts
		r := quick.Next()
		n += len(r.Names)
		quick.Ack(r)
	}
	// gRPC buffers one message, whatever its size: it is the next that is not taken.
	s.Set(fleet, big[1:]...)
	s.Recorder.Wait(t, "1 closed")
	quick.Expect("CDS -c0")
}

func TestFirstRequestTimeout(t *testing.T) {
	s := xdstest.Start(t, func(o *server.Options) { o.FirstRequestTimeout = time.Millisecond })
	if err := s.Stream(fleet, true).Ended(); status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("got %v, want DeadlineExceeded", err)
	}
}

func TestClose(t *testing.T) {
	s := xdstest.Start(t, nil)
	s.Set(fleet, world()...)
	stream := s.Stream(fleet, true)
	stream.Subscribe(cds)
	stream.ExpectAck("CDS a b")
	s.CloseStreams()
	if err := stream.Ended(); status.Code(err) != codes.Unavailable {
		t.Fatalf("got %v, want Unavailable", err)
	}
	stream = s.Stream(fleet, true)
	stream.Subscribe(cds)
	stream.ExpectAck("CDS a b")
}

// Rule 17: a thousand clients at once are all served, a few at a time.
func TestConnectStorm(t *testing.T) {
	s := xdstest.Start(t, func(o *server.Options) { o.MaxInitial = 4 })
	s.Set(fleet, world()...)
	conn := s.Dial()
	streams := make([]*xdstest.Stream, 300)
	for i := range streams {
		streams[i] = xdstest.Open(t, context.Background(), conn, fleet, i%2 == 0)
		streams[i].Subscribe(cds)
		streams[i].Subscribe(lds)
	}
	for _, stream := range streams {
		stream.ExpectAck("CDS a b")
		stream.ExpectAck("LDS l")
	}
}
