package admin

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/provenance"
	"github.com/sluice-proxy/sluice/controlplane/status"
)

const (
	// maxResources is how many resources of a proxy are told; gRPC's clients take 4 MiB.
	maxResources = 10_000
	// watchEvery is how often at most a watcher is told, maxWatchers how many there may be.
	watchEvery = 200 * time.Millisecond
	// lookAgain is for what nobody rings the bell for: the documents' problems.
	lookAgain   = 2 * time.Second
	maxWatchers = 32
)

// Status lists proxies and problems.
func (s *Service) Status(ctx context.Context, request *adminv1.StatusRequest) (*adminv1.StatusResponse, error) {
	return s.status(ctx, request)
}

func (s *Service) status(ctx context.Context, request *adminv1.StatusRequest) (*adminv1.StatusResponse, error) {
	list := s.opts.Proxies.Proxies(request.GetFleet())
	if request.GetProxy() != "" {
		var err error
		if list, err = one(list, request.GetProxy()); err != nil {
			return nil, err
		}
	}
	response := &adminv1.StatusResponse{Proxies: proxies(list), Totals: totals(list)}
	if request.GetProxy() != "" && list[0].Connected {
		resources, err := s.opts.Proxies.Resources(ctx, list[0].Fleet, list[0].ID, request.GetResources() != adminv1.StatusRequest_ALL)
		if err != nil {
			return nil, grpcstatus.Error(codes.Unavailable, text(err.Error()))
		}
		view := response.GetProxies()[0]
		view.MoreResources = uint32(max(0, len(resources)-maxResources))
		for _, r := range resources[:min(len(resources), maxResources)] {
			view.Resources = append(view.Resources, resourceStatus(&r))
		}
	}
	for _, p := range s.opts.Problems() {
		response.Problems = append(response.Problems, problem(p))
	}
	return response, nil
}

// one finds a proxy by its id. Fleets may have the same ids.
func one(list []status.Proxy, id string) (found []status.Proxy, err error) {
	for _, p := range list {
		if p.ID == id {
			found = append(found, p)
		}
	}
	switch {
	case len(found) == 0:
		return nil, grpcstatus.Errorf(codes.NotFound, "no proxy %s is connected, or was seen lately", text(id))
	case len(found) > 1:
		return nil, grpcstatus.Errorf(codes.InvalidArgument, "fleets %s and %s have a proxy %s each: name the fleet, too", text(found[0].Fleet), text(found[1].Fleet), text(id))
	}
	return found, nil
}

// WatchStatus sends the status, and what changes of it.
func (s *Service) WatchStatus(request *adminv1.WatchStatusRequest, stream grpc.ServerStreamingServer[adminv1.WatchStatusResponse]) error {
	ctx := stream.Context()
	if s.watchers.Add(1) > maxWatchers {
		s.watchers.Add(-1)
		return grpcstatus.Errorf(codes.ResourceExhausted, "got more than %d watchers at a time", maxWatchers)
	}
	defer s.watchers.Add(-1)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	told, first := &adminv1.StatusResponse{}, true
	for {
		changed := s.opts.Proxies.Changed() // before it is read
		now, err := s.status(ctx, request.GetStatus())
		if err != nil {
			return err
		}
		if news := difference(told, now); news != nil || first {
			if err := stream.Send(cmp.Or(news, &adminv1.WatchStatusResponse{Status: now})); err != nil {
				return err
			}
			told, first = now, false
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return grpcstatus.FromContextError(ctx.Err()).Err()
		}
		select {
		case <-changed:
		case <-again.C:
		case <-s.opts.Closing:
			return grpcstatus.Error(codes.Unavailable, "the control plane is shutting down")
		case <-ctx.Done():
			return grpcstatus.FromContextError(ctx.Err()).Err()
		}
	}
}

// difference is what of now was not told yet; nil is nothing.
func difference(told, now *adminv1.StatusResponse) *adminv1.WatchStatusResponse {
	out := &adminv1.WatchStatusResponse{Status: &adminv1.StatusResponse{Totals: now.GetTotals(), Problems: now.GetProblems()}}
	name := func(p *adminv1.Proxy) string { return p.GetFleet() + "/" + p.GetId() }
	before := map[string]*adminv1.Proxy{}
	for _, p := range told.GetProxies() {
		before[name(p)] = p
	}
	for _, p := range now.GetProxies() {
		if !proto.Equal(before[name(p)], p) {
			out.Status.Proxies = append(out.Status.Proxies, p)
		}
		delete(before, name(p))
	}
	for _, p := range told.GetProxies() {
		if before[name(p)] != nil {
			out.Forgotten = append(out.Forgotten, name(p))
		}
	}
	same := proto.Equal(&adminv1.StatusResponse{Problems: told.GetProblems()}, &adminv1.StatusResponse{Problems: now.GetProblems()})
	if same && len(out.Status.Proxies) == 0 && len(out.Forgotten) == 0 {
		return nil
	}
	return out
}

func totals(list []status.Proxy) *adminv1.Totals {
	out := &adminv1.Totals{}
	for _, p := range list {
		if !p.Connected {
			out.Gone++
			continue
		}
		out.Connected++
		synced, refusing := true, false
		for _, t := range p.Types {
			synced = synced && (t.State == status.Synced || t.State == status.NotSent)
			refusing = refusing || t.State == status.Error
		}
		switch {
		case refusing:
			out.Refusing++
		case synced:
			out.Synced++
		}
	}
	return out
}

func typeStatus(t *status.Type) *adminv1.TypeStatus {
	view := &adminv1.TypeStatus{
		Type: t.Short, State: states[t.State], Accepted: text(t.Accepted), Sent: text(t.Sent), Error: text(t.Error), Since: stamp(t.Since),
		AboutMore: uint32(t.More), Resources: uint32(t.Resources),
	}
	for i := range t.About {
		view.About = append(view.About, resourceRef(&t.About[i]))
	}
	return view
}

func resourceStatus(r *status.Resource) *adminv1.ResourceStatus {
	return &adminv1.ResourceStatus{
		Resource: resourceRef(&r.Ref), State: states[r.State], Wanted: text(r.Wanted), Sent: text(r.Sent), Accepted: text(r.Accepted),
		Error: text(r.Error), Doubts: uint32(r.Doubts), Since: stamp(r.Since),
	}
}

func resourceRef(r *status.Ref) *adminv1.ResourceRef {
	return &adminv1.ResourceRef{Type: r.Short, Name: text(r.Name), Origins: origins(r.Origins)}
}

func origins(list []provenance.Origin) (out []*adminv1.Origin) {
	for _, o := range list {
		out = append(out, &adminv1.Origin{Document: text(o.Document), File: text(o.File), Line: int32(o.Line)})
	}
	return out
}
