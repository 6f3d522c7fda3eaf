package identity

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// TestStreamsOfOne: one proxy has so many streams, and its neighbour has its own.
func TestStreamsOfOne(t *testing.T) {
	methods["/grpc.health.v1.Health/Watch"] = byNode
	t.Cleanup(func() { delete(methods, "/grpc.health.v1.Health/Watch") })
	s := startTLS(t, &Guard{Mutual: true})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	watch := func(id string) error {
		uri := &url.URL{Scheme: "spiffe", Host: "example.org", Path: "/fleet/edge/proxy/" + id}
		client := s.client(s.pair(s.sign(&x509.Certificate{URIs: []*url.URL{uri}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})))
		stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		if md, err := stream.Header(); err != nil || md != nil && len(md.Get("content-type")) > 0 {
			return err
		}
		_, err = stream.Recv()
		return err
	}
	for i := range maxStreams {
		if err := watch("one"); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if err := watch("one"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: got %v, want ResourceExhausted", err)
	}
	if err := watch("two"); err != nil {
		t.Errorf("another proxy: %v", err)
	}
}

// TestStreamsAreGivenBack: who has left leaves room.
func TestStreamsAreGivenBack(t *testing.T) {
	var s streams
	ctx := with(t, []string{"spiffe://x/fleet/edge/proxy/one"}, nil)
	for range 2 * maxStreams {
		leave, err := s.add(ctx)
		if err != nil {
			t.Fatal(err)
		}
		leave()
	}
	if len(s.of) != 0 {
		t.Errorf("got %v, want nothing kept", s.of)
	}
	both := with(t, []string{"spiffe://x/fleet/edge/proxy/one", "spiffe://x/fleet/edge/proxy/two"}, nil)
	for range 2 * maxStreams { // two proxies with one certificate
		if _, err := s.add(both); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.add(both); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
	if _, err := s.add(t.Context()); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
}

// TestRefusedCallsAreLogged: who tries tokens leaves a trace, which does not have them in it, and which he cannot make grow.
func TestRefusedCallsAreLogged(t *testing.T) {
	var log bytes.Buffer
	guard := &Guard{Admins: tokens(t, adminSecret), Viewers: tokens(t, viewerSecret), Logger: slog.New(slog.NewTextHandler(&log, nil))}
	try := func(ip, token, method string) {
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}})
		_ = guard.authorize(metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", "Bearer "+token)), method)
	}
	for i := range 10 {
		try("127.0.0.1", fmt.Sprintf("guess-%d", i), "/sluice.admin.v1.AdminService/Status")
	}
	try("127.0.0.2", viewerSecret, "/sluice.admin.v1.DefinitionService/Undo")
	got := log.String()
	if strings.Count(got, "\n") != 2 || !strings.Contains(got, `msg="a call was refused" method=Status from=127.0.0.1:1`) ||
		!strings.Contains(got, "method=Undo from=127.0.0.2:1") || strings.Contains(got, "guess") || strings.Contains(got, viewerSecret) {
		t.Errorf("got %s, want a line for each address", got)
	}
}

func TestTold(t *testing.T) {
	var told told
	now := time.Now()
	n := 0
	for i := range 2 * maxTold {
		if told.fresh(fmt.Sprint(i), now) {
			n++
		}
	}
	if n != maxTold || len(told.last) != maxTold {
		t.Errorf("got %d told, and %d remembered, want %d", n, len(told.last), maxTold)
	}
	now = now.Add(tellAgain)
	if !told.fresh("0", now) || told.fresh("0", now) || !told.fresh("new", now) || len(told.last) != 2 {
		t.Errorf("a minute later: got %d remembered", len(told.last))
	}
}
