package xdstest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
)

// Response is a response of either protocol.
type Response struct {
	Type, Version, Nonce string
	// Names are the resources, in the order of the response. Versions are theirs (delta only).
	Names    []string
	Versions map[string]string
	Any      map[string]*anypb.Any
	// Removed are the removed resources (delta only).
	Removed []string
}

// String is "CDS a b -c": what tests compare.
func (r *Response) String() string {
	words := append([]string{Short(r.Type)}, slices.Sorted(slices.Values(r.Names))...)
	for _, name := range slices.Sorted(slices.Values(r.Removed)) {
		words = append(words, "-"+name)
	}
	return strings.Join(words, " ")
}

// Stream plays a client, request by request. It answers nothing by itself.
type Stream struct {
	// Delta is the protocol.
	Delta bool
	// Whole says that the peer answers with all that is subscribed where ours answers with what is new.
	Whole bool

	t         testing.TB
	node      *corepb.Node
	sendSotW  func(*discoverypb.DiscoveryRequest) error
	sendDelta func(*discoverypb.DeltaDiscoveryRequest) error
	cancel    context.CancelFunc
	responses chan *Response
	ended     chan error
	names     map[string][]string // SotW: subscribed, by type
	nonces    map[string]string   // the latest, by type
	versions  map[string]string   // SotW: last accepted, by type
	barriers  int
}

// Node is a node as a client sends it.
func Node(id, fleet string) *corepb.Node { return &corepb.Node{Id: id, Cluster: fleet} }

// Open opens a stream of node "test" in a fleet. It ends with the test.
func Open(t testing.TB, ctx context.Context, conn *grpc.ClientConn, fleet string, isDelta bool) *Stream {
	t.Helper()
	return OpenAs(t, ctx, conn, Node("test", fleet), isDelta)
}

// OpenAs opens a stream of a node. It ends with the test.
func OpenAs(t testing.TB, ctx context.Context, conn *grpc.ClientConn, node *corepb.Node, isDelta bool) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{
		Delta: isDelta, t: t, cancel: cancel,
		node:      node,
		responses: make(chan *Response), ended: make(chan error, 1),
		names: map[string][]string{}, nonces: map[string]string{}, versions: map[string]string{},
	}
	t.Cleanup(cancel)
	client := discoverypb.NewAggregatedDiscoveryServiceClient(conn)
	var receive func() (*Response, error)
	if isDelta {
		stream, err := client.DeltaAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.sendDelta = stream.Send
		receive = func() (*Response, error) { return fromDelta(stream.Recv()) }
	} else {
		stream, err := client.StreamAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.sendSotW = stream.Send
		receive = func() (*Response, error) { return fromSotW(stream.Recv()) }
	}
	go func() {
		for {
			r, err := receive()
			if err != nil {
				s.ended <- err
				return
			}
			select {
			case s.responses <- r:
			case <-ctx.Done():
				s.ended <- ctx.Err()
				return
			}
		}
	}()
	return s
}

// Close ends the stream from the client's side.
func (s *Stream) Close() { s.cancel() }

// Subscribe asks for more names of a type; for none, the wildcard of a first request.
func (s *Stream) Subscribe(typeURL string, names ...string) {
	s.t.Helper()
	if s.Delta {
		s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesSubscribe: names})
		return
	}
	s.names[typeURL] = append(slices.Clone(s.names[typeURL]), names...)
	s.request(typeURL, s.nonces[typeURL], "")
}

// Unsubscribe takes names back.
func (s *Stream) Unsubscribe(typeURL string, names ...string) {
	s.t.Helper()
	if s.Delta {
		s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: typeURL, ResourceNamesUnsubscribe: names})
		return
	}
	s.names[typeURL] = slices.DeleteFunc(slices.Clone(s.names[typeURL]), func(n string) bool { return slices.Contains(names, n) })
	s.request(typeURL, s.nonces[typeURL], "")
}

// Ack accepts a response.
func (s *Stream) Ack(r *Response) {
	s.t.Helper()
	s.versions[r.Type] = r.Version
	s.request(r.Type, r.Nonce, "")
}

// Nack refuses a response.
func (s *Stream) Nack(r *Response, text string) {
	s.t.Helper()
	s.request(r.Type, r.Nonce, text)
}

func (s *Stream) request(typeURL, nonce, refused string) {
	s.t.Helper()
	var detail *status.Status
	if refused != "" {
		detail = &status.Status{Code: 3, Message: refused}
	}
	if s.Delta {
		s.SendDelta(&discoverypb.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: nonce, ErrorDetail: detail})
		return
	}
	s.SendSotW(&discoverypb.DiscoveryRequest{
		TypeUrl: typeURL, ResponseNonce: nonce, ErrorDetail: detail,
		ResourceNames: s.names[typeURL], VersionInfo: s.versions[typeURL],
	})
}

// SendSotW sends a request as it is, with the node if it is the stream's first.
func (s *Stream) SendSotW(req *discoverypb.DiscoveryRequest) {
	s.t.Helper()
	if req.Node == nil {
		req.Node, s.node = s.node, nil
	}
	if err := s.sendSotW(req); err != nil {
		s.t.Fatalf("send: %v; the stream ended with %v", err, <-s.ended)
	}
}

// SendDelta sends a request as it is, with the node if it is the stream's first.
func (s *Stream) SendDelta(req *discoverypb.DeltaDiscoveryRequest) {
	s.t.Helper()
	if req.Node == nil {
		req.Node, s.node = s.node, nil
	}
	if err := s.sendDelta(req); err != nil {
		s.t.Fatalf("send: %v; the stream ended with %v", err, <-s.ended)
	}
}

// Next waits for the next response.
func (s *Stream) Next() *Response {
	s.t.Helper()
	r, err := s.Receive(Patience)
	if err != nil {
		s.t.Fatalf("got no response: %v", err)
	}
	return r
}

// Receive is Next, with an error instead of a failed test.
func (s *Stream) Receive(within time.Duration) (*Response, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case r := <-s.responses:
		s.nonces[r.Type] = r.Nonce
		return r, nil
	case err := <-s.ended:
		s.ended <- err
		return nil, err
	case <-timer.C:
		return nil, fmt.Errorf("nothing within %v", within)
	}
}

// Expect waits for the next response, which must read so: "CDS a b -c" (see Response.String).
func (s *Stream) Expect(want string) *Response {
	s.t.Helper()
	r := s.Next()
	if r.String() != want {
		s.t.Fatalf("got %q, want %q", r, want)
	}
	return r
}

// ExpectAck is Expect, and accepts.
func (s *Stream) ExpectAck(want string) *Response {
	s.t.Helper()
	r := s.Expect(want)
	s.Ack(r)
	return r
}

// Ended waits for the end of the stream, and returns its error.
func (s *Stream) Ended() error {
	s.t.Helper()
	select {
	case r := <-s.responses:
		s.t.Fatalf("got %q, want the end of the stream", r)
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-time.After(Patience):
		s.t.Fatal("the stream did not end")
	}
	return nil
}

// Barrier is the name of the n-th resource that Silent asks for.
func Barrier(n int) string { return fmt.Sprintf("barrier-%d", n) }

// Silent proves that the server has nothing to say: see Collect.
func (s *Stream) Silent(typeURL string) {
	s.t.Helper()
	if got := s.Collect(typeURL); len(got) > 0 {
		s.t.Fatalf("got %q, want nothing", got)
	}
}

// Collect returns what the server sends before it answers a barrier: a request for a new name of the type, twice, one
// after the other. Had the server anything to say, it would have said it by then. The type must come after what is
// asked about in push order, its last response must be answered, and in state of the world the server must have
// Barrier(0), Barrier(1), … of it. The barriers are answered, what is collected is not.
func (s *Stream) Collect(typeURL string) []*Response {
	s.t.Helper()
	var all []*Response
	for range 2 {
		name := Barrier(s.barriers)
		s.barriers++
		s.Subscribe(typeURL, name)
		for {
			r := s.Next()
			only := len(r.Names)+len(r.Removed) == 1 || s.Whole
			if r.Type == typeURL && only && (slices.Contains(r.Names, name) || slices.Contains(r.Removed, name)) {
				s.Ack(r)
				break
			}
			all = append(all, r)
		}
	}
	return all
}

func fromSotW(in *discoverypb.DiscoveryResponse, err error) (*Response, error) {
	if err != nil {
		return nil, err
	}
	r := &Response{Type: in.GetTypeUrl(), Version: in.GetVersionInfo(), Nonce: in.GetNonce(), Any: map[string]*anypb.Any{}}
	for _, a := range in.GetResources() {
		m, err := a.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		r.Names = append(r.Names, NameOf(m))
		r.Any[NameOf(m)] = a
	}
	return r, nil
}

func fromDelta(in *discoverypb.DeltaDiscoveryResponse, err error) (*Response, error) {
	if err != nil {
		return nil, err
	}
	r := &Response{
		Type: in.GetTypeUrl(), Version: in.GetSystemVersionInfo(), Nonce: in.GetNonce(),
		Removed: in.GetRemovedResources(), Versions: map[string]string{}, Any: map[string]*anypb.Any{},
	}
	for _, res := range in.GetResources() {
		r.Names = append(r.Names, res.GetName())
		r.Versions[res.GetName()] = res.GetVersion()
		r.Any[res.GetName()] = res.GetResource()
	}
	return r, nil
}
