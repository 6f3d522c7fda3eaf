// Package csds is Envoy's Client Status Discovery Service: what each client of the xDS server has of each resource, for the
// tools that ask for it in Envoy's own words.
//
// In: requests, and the server, which is asked at that moment. Out: a generic_xds_config for each resource that a client has
// or should have, without secrets. It must not know what resources mean.
//
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/service/status/v3/csds.proto
package csds

import (
	"context"
	"errors"
	"fmt"
	"io"

	adminpb "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	statuspb "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sluice-proxy/sluice/xds/redact"
	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// Server is what is asked: *server.Server.
type Server interface {
	Clients() []server.Client
	Inspect(ctx context.Context, id server.StreamID, troubled bool) (*server.View, error)
}

// Options of a Service. Server is required.
type Options struct {
	Server Server
	// Authorize refuses a caller with an error that carries a gRPC status. Nil lets everyone in.
	Authorize func(ctx context.Context) error
}

const (
	// maxConfigs is how many resources one answer has at most.
	maxConfigs = 100_000
	// maxContents is how many bytes of contents one answer has at most; gRPC's clients take 4 MiB in all.
	maxContents = 2 << 20
	// maxMatchers bounds a request.
	maxMatchers = 100
)

type service struct {
	statuspb.UnimplementedClientStatusDiscoveryServiceServer
	opts Options
}

// Register adds the service.
func Register(r grpc.ServiceRegistrar, opts Options) {
	statuspb.RegisterClientStatusDiscoveryServiceServer(r, &service{opts: opts})
}

// FetchClientStatus answers once.
func (s *service) FetchClientStatus(ctx context.Context, request *statuspb.ClientStatusRequest) (*statuspb.ClientStatusResponse, error) {
	if s.opts.Authorize != nil {
		if err := s.opts.Authorize(ctx); err != nil {
			return nil, err
		}
	}
	wanted, err := matchers(request.GetNodeMatchers())
	if err != nil {
		return nil, grpcstatus.Error(codes.InvalidArgument, err.Error())
	}
	a := answer{
		service: s, ctx: ctx, left: maxConfigs, contents: maxContents,
		whole: len(wanted) > 0 && !request.GetExcludeResourceContents(),
	}
	out := &statuspb.ClientStatusResponse{}
	for _, client := range s.opts.Server.Clients() {
		if !wanted.match(client.Node.ID) {
			continue
		}
		config, err := a.client(client)
		if errors.Is(err, server.ErrGone) {
			continue
		} else if err != nil {
			return nil, err
		}
		out.Config = append(out.Config, config)
	}
	return out, nil
}

// StreamClientStatus answers each request as it comes.
func (s *service) StreamClientStatus(stream grpc.BidiStreamingServer[statuspb.ClientStatusRequest, statuspb.ClientStatusResponse]) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		response, err := s.FetchClientStatus(stream.Context(), request)
		if err != nil {
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

// answer is one answer in the making.
type answer struct {
	*service
	ctx            context.Context
	whole          bool // contents are told, too
	left, contents int  // how many resources, and bytes of contents, may still be told
}

func (a *answer) client(c server.Client) (*statuspb.ClientConfig, error) {
	view, err := a.opts.Server.Inspect(a.ctx, c.ID, false)
	if err != nil {
		if errors.Is(err, server.ErrGone) {
			return nil, err
		}
		return nil, grpcstatus.FromContextError(err).Err()
	}
	if a.left -= len(view.Resources); a.left < 0 {
		return nil, grpcstatus.Errorf(codes.ResourceExhausted, "got more than %d resources to tell of: name fewer clients by node_matchers", maxConfigs)
	}
	out := &statuspb.ClientConfig{
		Node: &corepb.Node{
			Id: c.Node.ID, Cluster: c.Node.Cluster, UserAgentName: c.Node.Agent,
			UserAgentVersionType: &corepb.Node_UserAgentVersion{UserAgentVersion: c.Node.Version},
		},
		ClientScope: fmt.Sprintf("stream %d", c.ID),
	}
	for i := range view.Resources {
		out.GenericXdsConfigs = append(out.GenericXdsConfigs, a.resource(&view.Resources[i]))
	}
	return out, nil
}

// The words of the two sides: what the control plane knows of its sending, and of the client's answer.
var words = map[server.State]struct {
	config statuspb.ConfigStatus
	client adminpb.ClientResourceStatus
}{
	server.Synced:  {statuspb.ConfigStatus_SYNCED, adminpb.ClientResourceStatus_ACKED},
	server.NotSent: {statuspb.ConfigStatus_NOT_SENT, adminpb.ClientResourceStatus_UNKNOWN},
	server.Stale:   {statuspb.ConfigStatus_STALE, adminpb.ClientResourceStatus_REQUESTED},
	server.Refused: {statuspb.ConfigStatus_ERROR, adminpb.ClientResourceStatus_NACKED},
}

func (a *answer) resource(r *server.ResourceView) *statuspb.ClientConfig_GenericXdsConfig {
	w := words[r.State]
	out := &statuspb.ClientConfig_GenericXdsConfig{
		TypeUrl: r.TypeURL, Name: r.Name, VersionInfo: r.Accepted, ConfigStatus: w.config, ClientStatus: w.client,
		LastUpdated: timestamppb.New(r.Since), XdsConfig: a.content(r.AcceptedResource),
	}
	if r.State == server.Stale && r.Accepted != "" {
		out.ClientStatus = adminpb.ClientResourceStatus_ACKED // an earlier version
	}
	if r.State == server.Refused {
		out.ErrorState = &adminpb.UpdateFailureState{
			Details: r.Error, VersionInfo: r.Sent, LastUpdateAttempt: timestamppb.New(r.Since), FailedConfiguration: a.content(r.SentResource),
		}
	}
	return out
}

// content is a resource without its secrets; nil if it was not asked for, is not known, or is too much.
func (a *answer) content(r *snapshot.Resource) *anypb.Any {
	if !a.whole || r == nil || !r.Known() || r.Size() > a.contents {
		return nil
	}
	a.contents -= r.Size()
	return redact.Message(r.Any()).(*anypb.Any)
}
