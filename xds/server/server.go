// Package server is our ADS loop: it streams a fleet's latest snapshot to every client, in state of the world and in
// delta, by one subscription algebra.
//
// In: gRPC streams, and a snapshot.Cache. Out: responses, each the first that may be sent now (order.go, gate.go), and
// calls of an Observer. It must not know where snapshots come from, nor what the resources mean beyond the names that
// they refer to.
//
// A stream is three goroutines: one receives, one sends, and one, stream.go's run, owns all its state (state.go,
// kind.go, subscription.go: they know neither gRPC nor goroutines). No lock is shared by streams while anything is
// compared or sent, and nothing is queued: a stream that is slow gets the latest when it is ready for it.
package server

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// Options of a Server. Zero values take the defaults.
type Options struct {
	// Cache holds the snapshots. Required.
	Cache *snapshot.Cache
	// Observer is told what happens; nil for nobody.
	Observer Observer
	// Refusals is told, right before Observer.Nacked, the names of the resources that a refusal may be about, unsorted. It must
	// not block. Nil for nobody.
	Refusals func(id StreamID, typeURL string, names []string)
	// Authorize refuses a client by an error: the stream ends with PermissionDenied and its text. It is asked once, with
	// the stream's context (peer, TLS state). Nil allows all.
	Authorize func(ctx context.Context, node Node) error
	// Logger: nil is slog.Default.
	Logger *slog.Logger

	// SendTimeout ends a stream whose client does not take a response for this long. (gRPC itself buffers one response per
	// stream; it is the next one that is not taken.) Default 30 s.
	SendTimeout time.Duration
	// FirstRequestTimeout ends a stream that asks for nothing. Default 30 s.
	FirstRequestTimeout time.Duration
	// Patience is how long a request that should be on its way is waited for: the verdict on a new cluster, before routes
	// to it are sent; after a reconnect, a list of what the client has, before something that it might show to be in use
	// is removed; after a listener, the request for its routes, before routes count as in sync. Default 1 s.
	Patience time.Duration
	// MaxNames bounds the names per type and stream. Default 100,000.
	MaxNames int
	// MaxStreams bounds the streams, MaxStreamsPerPeer those from one IP address. Defaults 20,000 and 10,000.
	MaxStreams, MaxStreamsPerPeer int
	// MaxInitial bounds the first responses per type that are being made and sent at the same time, so that a
	// thousand clients that connect at once do not need a thousand times the memory (rule 17). Default 64.
	MaxInitial int
}

// Limits on what one request may hold, in bytes.
const (
	maxNameLength   = 4096
	maxNodeLength   = 1024
	maxErrorLength  = 4096
	maxRequestBytes = 16 << 20
	// maxNamesBytes is for all that one stream remembers of its client: 100,000 names of each type, as names are.
	maxNamesBytes = 32 << 20
)

// readBuffer is what each connection holds for what comes in, in bytes.
const readBuffer = 4 << 10

// slotHold is how long a slow client may occupy one of MaxInitial.
const slotHold = time.Second

// Server serves xDS. Its methods may be called concurrently.
type Server struct {
	// Read-only after New.
	options Options
	slots   chan struct{}
	closed  chan struct{}

	closing sync.Once
	ids     atomic.Uint64

	mu      sync.Mutex
	streams int            // guarded by mu
	peers   map[string]int // guarded by mu
	strange map[string]bool
	asks    map[StreamID]*asking // guarded by mu
	refused map[string]time.Time // guarded by mu
}

// New makes a server. Register it on a *grpc.Server that was made with ServerOptions.
func New(o Options) *Server {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	defInt := func(d *int, v int) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.SendTimeout, 30*time.Second)
	def(&o.FirstRequestTimeout, 30*time.Second)
	def(&o.Patience, time.Second)
	defInt(&o.MaxNames, 100_000)
	defInt(&o.MaxStreams, 20_000)
	defInt(&o.MaxStreamsPerPeer, 10_000)
	defInt(&o.MaxInitial, 64)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Server{
		options: o,
		slots:   make(chan struct{}, o.MaxInitial),
		closed:  make(chan struct{}),
		peers:   map[string]int{},
		strange: map[string]bool{},
		refused: map[string]time.Time{},
		asks:    map[StreamID]*asking{},
	}
}

// Register adds the AggregatedDiscoveryService.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoverypb.RegisterAggregatedDiscoveryServiceServer(r, service{server: s})
}

// Close ends all streams with Unavailable, so that clients go elsewhere or come back. It does not wait.
func (s *Server) Close() {
	s.closing.Do(func() { close(s.closed) })
}

// ServerOptions are the gRPC options that a server of long-lived streams needs: bounded requests and streams per
// connection, dead peers found within 50 s, and clients' own keep-alives tolerated.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		// Requests are small, and a thousand proxies would hold 32 KiB each for them.
		grpc.ReadBufferSize(readBuffer),
		grpc.MaxConcurrentStreams(1024),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxHeaderListSize(64 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
}

// service is the face to gRPC, so that Server exports no methods for it.
type service struct {
	discoverypb.UnimplementedAggregatedDiscoveryServiceServer
	server *Server
}

func (s service) StreamAggregatedResources(stream discoverypb.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.server.run(stream.Context(), sotw{stream}, false)
}

func (s service) DeltaAggregatedResources(stream discoverypb.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.server.run(stream.Context(), delta{stream}, true)
}

// admit counts a stream in; leave counts it out.
func (s *Server) admit(peer string) (leave func(), err error) {
	host, _, splitErr := net.SplitHostPort(peer)
	if splitErr != nil {
		host = peer // a Unix socket, or a test's
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams >= s.options.MaxStreams {
		return nil, status.Errorf(codes.ResourceExhausted, "got more than %d streams", s.options.MaxStreams)
	}
	if s.peers[host] >= s.options.MaxStreamsPerPeer {
		return nil, status.Errorf(codes.ResourceExhausted, "got more than %d streams from %s", s.options.MaxStreamsPerPeer, host)
	}
	s.streams++
	s.peers[host]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams--
		if s.peers[host]--; s.peers[host] == 0 {
			delete(s.peers, host)
		}
	}, nil
}

// maxStrange bounds the types that are logged once each.
const maxStrange = 100

// unserved logs a type that Sluice does not serve, once.
func (s *Server) unserved(node Node, typeURL string) {
	s.mu.Lock()
	known := s.strange[typeURL] || len(s.strange) >= maxStrange
	if !known {
		s.strange[typeURL] = true
	}
	s.mu.Unlock()
	if !known {
		s.options.Logger.Info("xds: a client asks for a type that is not served", "type", typeURL, "node", node.ID, "fleet", node.Cluster)
	}
}
