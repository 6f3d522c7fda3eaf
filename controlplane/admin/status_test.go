package admin

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

func serve(t *testing.T, opts ServiceOptions) adminv1.AdminServiceClient {
	t.Helper()
	l := bufconn.Listen(1 << 16)
	g := grpc.NewServer()
	adminv1.RegisterAdminServiceServer(g, NewService(opts))
	var served sync.WaitGroup
	served.Go(func() { _ = g.Serve(l) })
	t.Cleanup(func() { g.Stop(); served.Wait() })
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return adminv1.NewAdminServiceClient(conn)
}

// TestWatch: first all, then the proxies that are not as they were, and those that are forgotten; the end of the control plane
// ends it.
func TestWatch(t *testing.T) {
	tracker := status.New(status.Options{KeepFor: time.Nanosecond})
	closing := make(chan struct{})
	client := serve(t, ServiceOptions{Proxies: tracker, Problems: func() []store.Problem { return nil }, Closing: closing})
	connect := func(id server.StreamID, name string) {
		tracker.StreamOpened(id, "127.0.0.1:1")
		tracker.Node(id, server.Node{ID: name, Cluster: "edge"})
	}
	connect(1, "a")
	connect(2, "b")
	stream, err := client.WatchStatus(t.Context(), &adminv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	next := func(what string, want ...string) *adminv1.WatchStatusResponse {
		t.Helper()
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range response.GetStatus().GetProxies() {
			got = append(got, p.GetId())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
		return response
	}
	next("all", "a", "b")
	tracker.Sent(2, resource.ClusterType, "1")
	if got := next("what changed", "b"); got.GetStatus().GetProxies()[0].GetTypes()[0].GetState() != adminv1.TypeStatus_STALE || got.GetStatus().GetTotals().GetConnected() != 2 {
		t.Errorf("got %v, want it stale, and two in all", got)
	}
	tracker.StreamClosed(1)
	if got := next("forgotten"); !slices.Equal(got.GetForgotten(), []string{"edge/a"}) {
		t.Errorf("got %v, want a forgotten", got)
	}
	close(closing)
	if _, err := stream.Recv(); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("the end: got %v, want Unavailable", err)
	}
}

// TestWatchers: there are only so many, and each makes room when it goes.
func TestWatchers(t *testing.T) {
	tracker := status.New(status.Options{})
	client := serve(t, ServiceOptions{Proxies: tracker, Problems: func() []store.Problem { return nil }})
	open := func() (context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		stream, err := client.WatchStatus(ctx, &adminv1.WatchStatusRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return cancel, err
	}
	var cancel context.CancelFunc
	for range maxWatchers {
		var err error
		if cancel, err = open(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open(); grpcstatus.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: got %v, want ResourceExhausted", err)
	}
	cancel()
	for {
		if _, err := open(); err == nil {
			break
		} else if grpcstatus.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
	}
}

// TestOneProxy: an id that nobody has, or two fleets have, is told.
func TestOneProxy(t *testing.T) {
	list := []status.Proxy{{ID: "a", Fleet: "x"}, {ID: "a", Fleet: "y"}, {ID: "b", Fleet: "x"}}
	for id, want := range map[string]codes.Code{"a": codes.InvalidArgument, "b": codes.OK, "c": codes.NotFound} {
		if _, err := one(list, id); grpcstatus.Code(err) != want {
			t.Errorf("%s: got %v, want %v", id, err, want)
		}
	}
	if _, err := one(list[:1], "a"); err != nil {
		t.Errorf("of one fleet: got %v", err)
	}
}
