package client_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/metadata"

	"github.com/sluice-proxy/sluice/xds/client"
	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

// keeper takes everything, and says so.
type keeper struct{ updates chan client.Update }

func (k keeper) Update(u client.Update) map[string]error {
	k.updates <- u
	return nil
}

func (keeper) Missing(string, string) {}

func TestGRPC(t *testing.T) {
	// A port that nobody has: the next address is tried then.
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	told := make(chan metadata.MD, 10)
	s := xdstest.Start(t, func(o *server.Options) {
		o.Authorize = func(ctx context.Context, _ server.Node) error {
			md, _ := metadata.FromIncomingContext(ctx)
			told <- md
			return nil
		}
	})
	s.Set("edge", xdstest.Cluster("a", time.Second), xdstest.Endpoints("a"))
	for _, sotw := range []bool{false, true} {
		transport, err := client.NewGRPC(client.Target{
			Addresses: []client.Address{{Network: "tcp", Address: dead.Addr().String()}, {Network: "tcp", Address: s.Addr}},
			Authority: "xds.example.com", Metadata: []string{"token", "secret"},
			PingInterval: 30 * time.Second, PingTimeout: time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		c := client.New(client.Options{
			Node: &corepb.Node{Id: "p", Cluster: "edge"}, Transport: transport, StateOfTheWorld: sotw, Name: nameOf,
			BackoffBase: time.Millisecond, BackoffMax: time.Millisecond, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		c.SubscribeAll(cds)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		k := keeper{make(chan client.Update, 10)}
		go func() { ended <- c.Run(ctx, k) }()
		select {
		case u := <-k.updates:
			if len(u.Resources) != 1 || u.Resources[0].Name != "a" {
				t.Errorf("got %+v, want cluster a", u)
			}
		case <-time.After(xdstest.Patience):
			t.Fatal("nothing came")
		}
		md := <-told
		if strings.Join(md.Get("token"), ",") != "secret" || strings.Join(md.Get(":authority"), ",") != "xds.example.com" {
			t.Errorf("got %v, want the token and the authority", md)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

func TestNewGRPCRefuses(t *testing.T) {
	if _, err := client.NewGRPC(client.Target{}); err == nil {
		t.Error("no address: got nil")
	}
	if _, err := client.NewGRPC(client.Target{Addresses: []client.Address{{}}, Metadata: []string{"k"}}); err == nil {
		t.Error("half a pair of metadata: got nil")
	}
}
