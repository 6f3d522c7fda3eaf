package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// TestRevokedIsCutOff: the streams of a proxy end as it is revoked, and it gets no other; its neighbour's go on.
func TestRevokedIsCutOff(t *testing.T) {
	methods["/grpc.health.v1.Health/Watch"] = byNode
	t.Cleanup(func() { delete(methods, "/grpc.health.v1.Health/Watch") })
	var out atomic.Bool
	guard := &Guard{Mutual: true, TrustDomain: "example.org", Revoked: func(fleet, id, serial string) bool {
		if serial != "1" {
			t.Errorf("serial: got %s, want 1", serial)
		}
		return fleet == "edge" && id == "one" && out.Load()
	}}
	var log bytes.Buffer
	guard.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := startTLS(t, guard)
	client := func(id string) healthpb.HealthClient {
		uri := &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/fleet/edge/proxy/" + id}
		return s.client(s.pair(s.sign(&x509.Certificate{URIs: []*url.URL{uri}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watch := func(c healthpb.HealthClient) (healthpb.Health_WatchClient, error) {
		stream, err := c.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Header() // it is heard
		return stream, err
	}
	one, two := client("one"), client("two")
	ofOne, err := watch(one)
	if err != nil {
		t.Fatal(err)
	}
	ofTwo, err := watch(two)
	if err != nil {
		t.Fatal(err)
	}

	out.Store(true)
	if n := guard.Disconnect("edge", "one"); n != 1 {
		t.Errorf("got %d connections ended, want 1", n)
	}
	if _, err := ofOne.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("its stream: got %v, want its end", err)
	}
	// It comes back, and is told why not; large things it may not even say.
	again := func() error {
		stream, err := watch(one)
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	err = again()
	for status.Code(err) == codes.Unavailable && ctx.Err() == nil { // the old connection's end
		err = again()
	}
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("another stream: got %v, want PermissionDenied", err)
	}
	if got := log.String(); strings.Count(got, "a call was refused") != 1 || !strings.Contains(got, "was revoked") {
		t.Errorf("got the log %s, want one line of it", got)
	}
	if _, _, _, err := guard.Proxy(with(t, []string{"spiffe://example.org/fleet/edge/proxy/one"}, nil)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a renewal: got %v, want PermissionDenied", err)
	}
	large := &healthpb.HealthCheckRequest{Service: strings.Repeat("x", 2*strangerBytes)}
	if _, err := client("one").Check(ctx, large); status.Code(err) != codes.Unavailable {
		t.Errorf("much: got %v, want the connection's end", err)
	}

	if _, err := watch(two); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	if ofTwo.Context().Err() != nil {
		t.Error("its neighbour's stream has ended")
	}
	if n := guard.Disconnect("edge", "two"); n != 1 {
		t.Errorf("its neighbour: got %d connections, want 1", n)
	}
}
