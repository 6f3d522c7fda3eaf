// Package admin answers people and their tools about a running control plane: the gRPC API behind the CLI, and the
// operations port with health, readiness and metrics.
//
// In: the proxies' status, the problems of the documents, and what is served, each asked for through a function. Out:
// answers. It must not know how any of it comes about, and changes nothing.
package admin

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/server"
)

// Proxies is what is asked of the status of proxies.
type Proxies interface {
	Proxies(fleet string) []status.Proxy
	Wait(ctx context.Context, fleet string, atLeast int) ([]status.Proxy, error)
	// Resources is what one proxy has of each resource.
	Resources(ctx context.Context, fleet, id string, troubled bool) ([]status.Resource, error)
	// Changed is closed at the next change.
	Changed() <-chan struct{}
	// Age is how long ago a version was published that a stream waited for.
	Age(id server.StreamID, typeURL, version string) (time.Duration, bool)
}

// ServiceOptions say where the answers come from. All are required but Explain and Closing. Who may call
// what has been decided before (controlplane/identity).
type ServiceOptions struct {
	Proxies Proxies
	// Problems are those of the documents now.
	Problems func() []store.Problem
	// Explain says where a request goes, as JSON. Nil: Explain is refused as not implemented.
	Explain func(ctx context.Context, request *adminv1.ExplainRequest) ([]byte, error)
	// Closing ends the watchers. Nil: only they do.
	Closing <-chan struct{}
}

// Service implements adminv1.AdminServiceServer.
type Service struct {
	adminv1.UnimplementedAdminServiceServer
	opts     ServiceOptions
	watchers atomic.Int32
}

var _ adminv1.AdminServiceServer = (*Service)(nil)

// NewService makes a Service.
func NewService(opts ServiceOptions) *Service { return &Service{opts: opts} }

// Wait answers when all proxies of a fleet have the newest.
func (s *Service) Wait(ctx context.Context, request *adminv1.WaitRequest) (*adminv1.WaitResponse, error) {
	fleet := request.GetFleet()
	if fleet == "" {
		fleet = definition.DefaultGateway
	}
	// A gRPC client whose deadline is over hears nothing more, so the answer is given a little before.
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left-min(left/4, 500*time.Millisecond))
		defer cancel()
	}
	accepted, err := s.opts.Proxies.Wait(ctx, fleet, int(max(1, request.GetAtLeast())))
	if err != nil {
		code := codes.DeadlineExceeded
		if errors.Is(err, context.Canceled) {
			code = codes.Canceled
		}
		return nil, grpcstatus.Error(code, text(err.Error()))
	}
	return &adminv1.WaitResponse{Proxies: proxies(accepted)}, nil
}

// Explain says where a request would go.
func (s *Service) Explain(ctx context.Context, request *adminv1.ExplainRequest) (*adminv1.ExplainResponse, error) {
	if s.opts.Explain == nil {
		return nil, grpcstatus.Error(codes.Unimplemented, "this control plane cannot explain")
	}
	json, err := s.opts.Explain(ctx, request)
	if err != nil {
		if _, ok := grpcstatus.FromError(err); ok {
			return nil, err
		}
		return nil, grpcstatus.Error(codes.InvalidArgument, text(err.Error()))
	}
	return &adminv1.ExplainResponse{Json: json}, nil
}

func proxies(list []status.Proxy) []*adminv1.Proxy {
	var out []*adminv1.Proxy
	for _, p := range list {
		view := &adminv1.Proxy{Id: text(p.ID), Fleet: text(p.Fleet), Agent: text(p.Agent), Connected: p.Connected, Since: stamp(p.Since), Peer: text(p.Peer)}
		for _, t := range p.Types {
			view.Types = append(view.Types, typeStatus(&t))
		}
		out = append(out, view)
	}
	return out
}

var states = map[status.State]adminv1.TypeStatus_State{
	status.Synced:  adminv1.TypeStatus_SYNCED,
	status.NotSent: adminv1.TypeStatus_NOT_SENT,
	status.Stale:   adminv1.TypeStatus_STALE,
	status.Error:   adminv1.TypeStatus_ERROR,
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// text is what protobuf takes for a string: it must be UTF-8, which a file's name or a proxy's words need not be.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func problem(p store.Problem) *adminv1.Problem {
	return &adminv1.Problem{
		File: text(p.File), Line: int32(p.Line), Column: int32(p.Column), Document: text(p.Ref.String()), Code: p.Code,
		Severity: string(p.Severity), Field: text(p.Field), Message: text(p.Message), Serving: p.Serving,
	}
}
