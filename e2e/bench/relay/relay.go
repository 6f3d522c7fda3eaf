// Package relay stands between a proxy and its control plane, and takes the access log out of the listeners: the
// language cannot yet, and a log costs more than a request.
//
// In: the control plane's address. Out: an address that speaks delta xDS (ADS) as it does. It must not know what else is
// in a listener.
package relay

import (
	"context"
	"fmt"
	"net"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxypb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxMessage is more than 100,000 routes need, in bytes.
const maxMessage = 256 << 20

// Relay is one that runs.
type Relay struct {
	// Addr is where it listens, on loopback.
	Addr string

	discoverypb.UnimplementedAggregatedDiscoveryServiceServer
	server   *grpc.Server
	upstream *grpc.ClientConn
}

// Start starts one to a control plane, which may come later.
func Start(controlPlane string) (*Relay, error) {
	upstream, err := grpc.NewClient("passthrough:///"+controlPlane, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = upstream.Close()
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{Addr: listener.Addr().String(), upstream: upstream, server: grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage))}
	discoverypb.RegisterAggregatedDiscoveryServiceServer(r.server, r)
	go func() { _ = r.server.Serve(listener) }() // it ends by Stop
	return r, nil
}

// Stop ends it and its streams.
func (r *Relay) Stop() {
	r.server.Stop()
	_ = r.upstream.Close()
}

// DeltaAggregatedResources joins a proxy's stream to one of the control plane.
func (r *Relay) DeltaAggregatedResources(down discoverypb.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	ctx, cancel := context.WithCancel(down.Context())
	defer cancel()
	up, err := discoverypb.NewAggregatedDiscoveryServiceClient(r.upstream).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	go func() {
		defer cancel()
		for {
			request, err := down.Recv()
			if err != nil || up.Send(request) != nil {
				return
			}
		}
	}()
	for {
		response, err := up.Recv()
		if err != nil {
			return err
		}
		for _, resource := range response.Resources {
			if err := silence(resource.Resource); err != nil {
				return err
			}
		}
		if err := down.Send(response); err != nil {
			return err
		}
	}
}

// silence takes the access logs out of a listener; other resources stay as they are.
func silence(resource *anypb.Any) error {
	listener := &listenerpb.Listener{}
	if !resource.MessageIs(listener) {
		return nil
	}
	if err := resource.UnmarshalTo(listener); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	for _, chain := range append(listener.FilterChains, listener.DefaultFilterChain) {
		for _, filter := range chain.GetFilters() {
			config := filter.GetTypedConfig()
			http, tcp := &hcmpb.HttpConnectionManager{}, &tcpproxypb.TcpProxy{}
			var message proto.Message
			switch {
			case config.MessageIs(http):
				message = http
			case config.MessageIs(tcp):
				message = tcp
			default:
				continue
			}
			if err := config.UnmarshalTo(message); err != nil {
				return fmt.Errorf("relay: %w", err)
			}
			http.AccessLog, tcp.AccessLog = nil, nil
			if err := config.MarshalFrom(message); err != nil {
				return fmt.Errorf("relay: %w", err)
			}
		}
	}
	if err := resource.MarshalFrom(listener); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}
