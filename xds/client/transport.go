package client

import (
	"context"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Transport opens streams to the control plane. A stream ends when its context does.
type Transport interface {
	Delta(ctx context.Context) (DeltaStream, error)
	StateOfTheWorld(ctx context.Context) (StateOfTheWorldStream, error)
}

// DeltaStream is one stream of DeltaAggregatedResources. Send and Recv are called by one goroutine each.
type DeltaStream interface {
	Send(*discoverypb.DeltaDiscoveryRequest) error
	Recv() (*discoverypb.DeltaDiscoveryResponse, error)
	// Close gives back all that the stream holds. It is called once, after its context ended and Send and Recv returned.
	Close()
}

// StateOfTheWorldStream is one stream of StreamAggregatedResources.
type StateOfTheWorldStream interface {
	Send(*discoverypb.DiscoveryRequest) error
	Recv() (*discoverypb.DiscoveryResponse, error)
	// Close is as DeltaStream's.
	Close()
}

// request is a request of either form.
type request struct {
	typeURL string
	// subscribe and unsubscribe are delta's; names are state-of-the-world's: all that is wanted.
	subscribe, unsubscribe, names []string
	// initial is only on the first request of a type (delta).
	initial map[string]string
	// version is the last accepted (state-of-the-world).
	version string
	// nonce is of the response that is answered; a delta subscription has none.
	nonce string
	// answers: an ACK or NACK. refusal is the NACK's text.
	answers bool
	refusal string
}

// response is a response of either form.
type response struct {
	typeURL, version, nonce string
	resources               []item
	removed                 []string
}

// item is one resource of a response.
type item struct {
	// name and version are of the wrapper; in state-of-the-world both may be empty.
	name, version string
	body          *anypb.Any
	ttl           ttl
	// problem is why the wrapper could not be read.
	problem error
}

// stream is a stream of either form.
type stream interface {
	send(r *request, first bool) error
	recv() (*response, error)
	close()
}

// open opens a stream of the form that is spoken.
func (c *Client) open(ctx context.Context) (stream, error) {
	if c.options.StateOfTheWorld {
		s, err := c.options.Transport.StateOfTheWorld(ctx)
		if err != nil {
			return nil, err
		}
		return &sotwStream{client: c, stream: s}, nil
	}
	s, err := c.options.Transport.Delta(ctx)
	if err != nil {
		return nil, err
	}
	return &deltaStream{client: c, stream: s}, nil
}

type deltaStream struct {
	client *Client
	stream DeltaStream
}

func (s *deltaStream) close() { s.stream.Close() }

func (s *deltaStream) send(r *request, first bool) error {
	m := &discoverypb.DeltaDiscoveryRequest{
		TypeUrl:                  r.typeURL,
		ResourceNamesSubscribe:   r.subscribe,
		ResourceNamesUnsubscribe: r.unsubscribe,
		InitialResourceVersions:  r.initial,
		ErrorDetail:              r.status(),
	}
	if r.answers {
		m.ResponseNonce = r.nonce
	}
	if first {
		m.Node = s.client.options.Node
	}
	return s.stream.Send(m)
}

func (s *deltaStream) recv() (*response, error) {
	m, err := s.stream.Recv()
	if err != nil {
		return nil, err
	}
	r := &response{typeURL: m.TypeUrl, version: m.SystemVersionInfo, nonce: m.Nonce, removed: m.RemovedResources}
	for _, w := range m.Resources {
		r.resources = append(r.resources, unwrapped(w))
	}
	for _, n := range m.RemovedResourceNames {
		r.removed = append(r.removed, n.Name)
	}
	r.removed = append(r.removed, notFound(m.ResourceErrors)...)
	return r, nil
}

type sotwStream struct {
	client *Client
	stream StateOfTheWorldStream
}

func (s *sotwStream) close() { s.stream.Close() }

func (s *sotwStream) send(r *request, first bool) error {
	m := &discoverypb.DiscoveryRequest{
		TypeUrl:       r.typeURL,
		VersionInfo:   r.version,
		ResourceNames: r.names,
		ResponseNonce: r.nonce,
		ErrorDetail:   r.status(),
	}
	if first {
		m.Node = s.client.options.Node
	}
	return s.stream.Send(m)
}

// wrapperType wraps resources in state-of-the-world, where they have a TTL.
const wrapperType = "type.googleapis.com/envoy.service.discovery.v3.Resource"

func (s *sotwStream) recv() (*response, error) {
	m, err := s.stream.Recv()
	if err != nil {
		return nil, err
	}
	r := &response{typeURL: m.TypeUrl, version: m.VersionInfo, nonce: m.Nonce}
	for _, body := range m.Resources {
		if body.GetTypeUrl() != wrapperType {
			r.resources = append(r.resources, item{body: body})
			continue
		}
		w := &discoverypb.Resource{}
		if err := proto.Unmarshal(body.Value, w); err != nil {
			r.resources = append(r.resources, item{problem: err})
			continue
		}
		r.resources = append(r.resources, unwrapped(w))
	}
	r.removed = append(r.removed, notFound(m.ResourceErrors)...)
	return r, nil
}

// notFound are the names that the control plane says do not exist. Its other errors may pass: such a resource is waited
// for until it counts as missing.
func notFound(failures []*discoverypb.ResourceError) []string {
	var names []string
	for _, e := range failures {
		if codes.Code(e.GetErrorDetail().GetCode()) == codes.NotFound {
			names = append(names, e.GetResourceName().GetName())
		}
	}
	return names
}

func unwrapped(w *discoverypb.Resource) item {
	i := item{name: w.Name, version: w.Version, body: w.Resource}
	if i.name == "" {
		i.name = w.GetResourceName().GetName()
	}
	if w.Ttl != nil {
		i.ttl = ttl{set: true, after: w.Ttl.AsDuration()}
	}
	return i
}

// status is the error_detail, whose presence alone makes a NACK (rule 2).
func (r *request) status() *statuspb.Status {
	if r.refusal == "" {
		return nil
	}
	return &statuspb.Status{Code: int32(codes.InvalidArgument), Message: r.refusal}
}
