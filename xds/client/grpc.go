package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
)

// maxMessage is the largest response that is taken if Target does not say, in bytes. gRPC's own 4 MiB is less than a
// large fleet's clusters.
const maxMessage = 256 << 20

// Address is where a control plane may be reached.
type Address struct {
	// Network is "tcp", "tcp4", "tcp6" or "unix".
	Network string
	// Address is host:port, or the socket's path. A host name is resolved for each attempt.
	Address string
}

// Target is a control plane, for NewGRPC.
type Target struct {
	// Addresses are tried one after the other, one for each attempt.
	Addresses []Address
	// TLS is asked for each attempt, so that renewed files are read; nil is plaintext.
	TLS func() (*tls.Config, error)
	// Authority replaces the host in the :authority header if set.
	Authority string
	// Metadata goes with each stream, key and value by turns.
	Metadata []string
	// MaxMessage is the largest response in bytes; 0 is 256 MiB.
	MaxMessage int
	// PingInterval and PingTimeout are HTTP/2's keepalive; 0 is none. Many gRPC servers close a connection that pings
	// more often than every 5 minutes.
	PingInterval, PingTimeout time.Duration
	// TCPKeepAlive finds a peer that went away without a word; the zero value is Go's (15 s).
	TCPKeepAlive net.KeepAliveConfig
	// ConnectTimeout is for one TCP connection; 0 leaves it to Options.ConnectTimeout.
	ConnectTimeout time.Duration
}

// NewGRPC opens each stream on a connection of its own, so that a connection's own retries cannot delay ours, and the
// next attempt goes to the next address.
func NewGRPC(target Target) (Transport, error) {
	if len(target.Addresses) == 0 {
		return nil, errors.New("control plane: got no address, want at least one")
	}
	if len(target.Metadata)%2 != 0 {
		return nil, errors.New("control plane: metadata: got a key without a value")
	}
	return &grpcTransport{target: target}, nil
}

type grpcTransport struct {
	target Target
	// attempts counts, to choose the address.
	attempts atomic.Uint64
}

// grpcStream closes the connection with the stream.
type grpcStream[Req, Res any] struct {
	grpc.BidiStreamingClient[Req, Res]
	conn *grpc.ClientConn
}

func (s *grpcStream[Req, Res]) Close() { _ = s.conn.Close() } // nothing is left to lose

func (t *grpcTransport) Delta(ctx context.Context) (DeltaStream, error) {
	return openGRPC(ctx, t, discoverypb.AggregatedDiscoveryServiceClient.DeltaAggregatedResources)
}

func (t *grpcTransport) StateOfTheWorld(ctx context.Context) (StateOfTheWorldStream, error) {
	return openGRPC(ctx, t, discoverypb.AggregatedDiscoveryServiceClient.StreamAggregatedResources)
}

// openGRPC connects and opens one stream. It does not wait for the server's first answer.
func openGRPC[Req, Res any](ctx context.Context, t *grpcTransport,
	method func(discoverypb.AggregatedDiscoveryServiceClient, context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Req, Res], error),
) (*grpcStream[Req, Res], error) {
	address := t.target.Addresses[(t.attempts.Add(1)-1)%uint64(len(t.target.Addresses))]
	conn, err := t.dial(address)
	if err != nil {
		return nil, fmt.Errorf("control plane %s: %w", address.Address, err)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, t.target.Metadata...)
	s, err := method(discoverypb.NewAggregatedDiscoveryServiceClient(conn), ctx)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("control plane %s: %w", address.Address, err)
	}
	return &grpcStream[Req, Res]{BidiStreamingClient: s, conn: conn}, nil
}

func (t *grpcTransport) dial(address Address) (*grpc.ClientConn, error) {
	var security credentials.TransportCredentials = insecure.NewCredentials()
	if t.target.TLS != nil {
		config, err := t.target.TLS()
		if err != nil {
			return nil, err
		}
		security = credentials.NewTLS(config)
	}
	dialer := &net.Dialer{Timeout: t.target.ConnectTimeout, KeepAliveConfig: t.target.TCPKeepAlive}
	limit := t.target.MaxMessage
	if limit == 0 {
		limit = maxMessage
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(security),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, address.Network, address.Address)
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(limit)),
		// A stream is for life: neither gRPC's idleness nor its proxies from the environment apply.
		grpc.WithIdleTimeout(0),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
	}
	if t.target.Authority != "" {
		options = append(options, grpc.WithAuthority(t.target.Authority))
	}
	if t.target.PingInterval > 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: t.target.PingInterval, Timeout: t.target.PingTimeout, PermitWithoutStream: true,
		}))
	}
	return grpc.NewClient("passthrough:///"+address.Address, options...)
}
