package client_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/sluice-proxy/sluice/xds/client"
	"github.com/sluice-proxy/sluice/xds/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	cds = resource.ClusterType
	eds = resource.EndpointType
	lds = resource.ListenerType
	rds = resource.RouteType
)

// scripted is a Transport whose server the test plays.
type scripted struct {
	t *testing.T

	mu sync.Mutex
	// refuse is what attempts fail with; nil opens.
	refuse error
	// hang makes attempts wait for their context.
	hang     bool
	attempts []time.Time
	streams  chan *stream
	open     int
}

// stream is one stream: what the client sent can be taken, what is given it receives. Delta and state-of-the-world
// share it; one pair of channels is used.
type stream struct {
	transport *scripted
	ctx       context.Context
	err       chan error
	toDelta   chan *discoverypb.DeltaDiscoveryResponse
	delta     chan *discoverypb.DeltaDiscoveryRequest
	toSotw    chan *discoverypb.DiscoveryResponse
	sotw      chan *discoverypb.DiscoveryRequest
}

func (s *scripted) connect(ctx context.Context) (*stream, error) {
	s.mu.Lock()
	s.attempts = append(s.attempts, time.Now())
	refuse, hang := s.refuse, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if refuse != nil {
		return nil, refuse
	}
	st := &stream{
		transport: s, ctx: ctx, err: make(chan error, 1),
		toDelta: make(chan *discoverypb.DeltaDiscoveryResponse), delta: make(chan *discoverypb.DeltaDiscoveryRequest, 100),
		toSotw: make(chan *discoverypb.DiscoveryResponse), sotw: make(chan *discoverypb.DiscoveryRequest, 100),
	}
	s.mu.Lock()
	s.open++
	s.mu.Unlock()
	s.streams <- st
	return st, nil
}

type deltaEnd struct{ *stream }

func (s deltaEnd) Send(r *discoverypb.DeltaDiscoveryRequest) error {
	s.delta <- proto.CloneOf(r)
	return nil
}

func (s deltaEnd) Recv() (*discoverypb.DeltaDiscoveryResponse, error) {
	select {
	case r := <-s.toDelta:
		return r, nil
	case err := <-s.err:
		return nil, err
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

type sotwEnd struct{ *stream }

func (s sotwEnd) Send(r *discoverypb.DiscoveryRequest) error {
	s.sotw <- proto.CloneOf(r)
	return nil
}

func (s sotwEnd) Recv() (*discoverypb.DiscoveryResponse, error) {
	select {
	case r := <-s.toSotw:
		return r, nil
	case err := <-s.err:
		return nil, err
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func (s *stream) Close() {
	if s.ctx.Err() == nil {
		s.transport.t.Error("a stream was closed before its context ended")
	}
	s.transport.mu.Lock()
	defer s.transport.mu.Unlock()
	s.transport.open--
}

func (s *scripted) Delta(ctx context.Context) (client.DeltaStream, error) {
	st, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	return deltaEnd{st}, nil
}

func (s *scripted) StateOfTheWorld(ctx context.Context) (client.StateOfTheWorldStream, error) {
	st, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	return sotwEnd{st}, nil
}

// accept waits for the next stream. From the first on, what the client sends first has been sent when it returns.
func (s *scripted) accept() *stream {
	st := <-s.streams
	synctest.Wait()
	return st
}

func (s *scripted) set(refuse error, hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse, s.hang = refuse, hang
}

func (s *scripted) counts() (attempts []time.Time, open int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attempts), s.open
}

// receiver notes what it is told, as lines.
type receiver struct {
	mu     sync.Mutex
	lines  []string
	refuse map[string]error
	// then is called at the end of each Update.
	then func(client.Update)
}

func (r *receiver) Update(u client.Update) map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, _ := resource.ByURL(u.TypeURL)
	line := t.Short
	refused := map[string]error{}
	for _, res := range u.Resources {
		line += fmt.Sprintf(" %s@%s", res.Name, res.Version)
		if err := r.refuse[res.Name]; err != nil {
			refused[res.Name] = err
		}
	}
	for _, name := range u.Removed {
		line += " -" + name
	}
	if u.Expired {
		line += " expired"
	}
	r.lines = append(r.lines, line)
	if r.then != nil {
		r.then(u)
	}
	return refused
}

func (r *receiver) Missing(typeURL, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, _ := resource.ByURL(typeURL)
	r.lines = append(r.lines, fmt.Sprintf("%s missing %s", t.Short, name))
}

// take returns what was told since the last take.
func (r *receiver) take() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	out := strings.Join(r.lines, "\n")
	r.lines = nil
	return out
}

func (r *receiver) setRefuse(refuse map[string]error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = refuse
}

// rig is a client that runs against a script.
type rig struct {
	t         *testing.T
	transport *scripted
	receiver  *receiver
	client    *client.Client
}

// run starts a client inside a bubble, and ends it behind the script.
func run(t *testing.T, sotw bool, script func(r *rig)) {
	t.Helper()
	runWith(t, sotw, nil, script)
}

// runWith is run with something to fall back to.
func runWith(t *testing.T, sotw bool, fallback func() []client.Update, script func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		tr := &scripted{t: t, streams: make(chan *stream, 100)}
		r := &rig{t: t, transport: tr, receiver: &receiver{}, client: client.New(client.Options{
			Node: &corepb.Node{Id: "p1", Cluster: "edge"}, Transport: tr, StateOfTheWorld: sotw, Name: nameOf,
			BackoffBase: 250 * time.Millisecond, BackoffMax: 1500 * time.Millisecond, Fallback: fallback,
		})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.client.Run(ctx, r.receiver) }()
		script(r)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: got %v, want context.Canceled", err)
		}
		if _, open := tr.counts(); open != 0 {
			t.Errorf("%d streams are left open", open)
		}
	})
}

// both runs a script in both forms.
func both(t *testing.T, script func(t *testing.T, r *rig, sotw bool)) {
	for _, sotw := range []bool{false, true} {
		t.Run(map[bool]string{false: "delta", true: "sotw"}[sotw], func(t *testing.T) {
			run(t, sotw, func(r *rig) { script(r.t, r, sotw) })
		})
	}
}

// body is a resource of a type. All are clusters inside: the client does not look.
func body(typeURL, name string) *anypb.Any {
	value, err := proto.Marshal(&clusterpb.Cluster{Name: name})
	if err != nil {
		panic(err)
	}
	return &anypb.Any{TypeUrl: typeURL, Value: value}
}

func nameOf(r *anypb.Any) (string, error) {
	m := &clusterpb.Cluster{}
	if err := proto.Unmarshal(r.Value, m); err != nil {
		return "", errors.New("want a serialized resource")
	}
	return m.Name, nil
}

// res makes a delta resource of "name@version", or a heartbeat of "name@version~30s" (with "!" in front: with a body).
func res(typeURL, spec string) *discoverypb.Resource {
	spec, withBody := strings.CutPrefix(spec, "!")
	spec, ttl, hasTTL := strings.Cut(spec, "~")
	name, version, _ := strings.Cut(spec, "@")
	r := &discoverypb.Resource{Name: name, Version: version}
	if !hasTTL || withBody {
		r.Resource = body(typeURL, name)
	}
	if hasTTL {
		d, err := time.ParseDuration(ttl)
		if err != nil {
			panic(err)
		}
		r.Ttl = durationpb.New(d)
	}
	return r
}

// push sends a delta response: "name@version" adds, "-name" removes.
func (s *stream) push(typeURL, nonce string, what ...string) {
	r := &discoverypb.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: nonce, SystemVersionInfo: nonce}
	for _, spec := range what {
		if name, removed := strings.CutPrefix(spec, "-"); removed {
			r.RemovedResources = append(r.RemovedResources, name)
		} else {
			r.Resources = append(r.Resources, res(typeURL, spec))
		}
	}
	s.toDelta <- r
	synctest.Wait()
}

// state sends a state-of-the-world response of version and nonce "v".
func (s *stream) state(typeURL, v string, names ...string) {
	r := &discoverypb.DiscoveryResponse{TypeUrl: typeURL, Nonce: v, VersionInfo: v}
	for _, name := range names {
		r.Resources = append(r.Resources, body(typeURL, name))
	}
	s.toSotw <- r
	synctest.Wait()
}

// sent returns all that the client sent since the last call, one line each.
func (s *stream) sent() string {
	synctest.Wait()
	var lines []string
	for {
		select {
		case r := <-s.delta:
			lines = append(lines, deltaLine(r))
		case r := <-s.sotw:
			lines = append(lines, sotwLine(r))
		default:
			return strings.Join(lines, "\n")
		}
	}
}

func deltaLine(r *discoverypb.DeltaDiscoveryRequest) string {
	t, _ := resource.ByURL(r.TypeUrl)
	line := t.Short
	if t.Short == "" {
		line = r.TypeUrl
	}
	if r.Node != nil {
		line += " node=" + r.Node.Id
	}
	for _, n := range r.ResourceNamesSubscribe {
		line += " +" + n
	}
	for _, n := range r.ResourceNamesUnsubscribe {
		line += " -" + n
	}
	for _, n := range slices.Sorted(maps.Keys(r.InitialResourceVersions)) {
		line += " have " + n + "@" + r.InitialResourceVersions[n]
	}
	if r.ErrorDetail != nil {
		return line + " nack " + r.ResponseNonce + ": " + r.ErrorDetail.Message
	}
	if r.ResponseNonce != "" {
		line += " ack " + r.ResponseNonce
	}
	return line
}

func sotwLine(r *discoverypb.DiscoveryRequest) string {
	t, _ := resource.ByURL(r.TypeUrl)
	line := t.Short
	if t.Short == "" {
		line = r.TypeUrl
	}
	if r.Node != nil {
		line += " node=" + r.Node.Id
	}
	line += fmt.Sprintf(" %v v=%q", r.ResourceNames, r.VersionInfo)
	if r.ResponseNonce != "" {
		line += " nonce=" + r.ResponseNonce
	}
	if r.ErrorDetail != nil {
		line += " nack: " + r.ErrorDetail.Message
	}
	return line
}

// expect compares lines.
func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", what, strings.ReplaceAll(got, "\n", "\n     "), strings.ReplaceAll(want, "\n", "\n     "))
	}
}
