// Package xdstest is what tests of xDS need: an in-process server on loopback, a scripted stream that plays a client of
// either protocol, small resources, and a recorder of what the server observed.
//
// It is for tests only. A stream's silence is proven by an event, a later request that is answered, never by waiting.
package xdstest

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"sync"
	"testing"

	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// Server is a control plane in the test's process, on a loopback port. Its methods are for the test's goroutine.
type Server struct {
	// Addr is host:port. It stays the same after Stop and Restart.
	Addr string
	// Cache is what the server serves. Set fills it; it is not ready before.
	Cache *snapshot.Cache
	// Recorder has what the server's Observer was told.
	Recorder *Recorder

	t       testing.TB
	options server.Options
	fleets  map[string]*snapshot.Snapshot
	grpc    *grpc.Server
	xds     *server.Server
	served  sync.WaitGroup
}

// Start starts a server that ends with the test. The function, which may be nil, changes its options.
func Start(t testing.TB, change func(*server.Options)) *Server {
	t.Helper()
	s := &Server{
		t: t, Cache: snapshot.NewCache(), Recorder: NewRecorder(),
		fleets: map[string]*snapshot.Snapshot{},
	}
	s.options = server.Options{Cache: s.Cache, Observer: s.Recorder, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&s.options)
	}
	s.listen("127.0.0.1:0")
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) listen(addr string) {
	s.t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Addr = l.Addr().String()
	s.xds = server.New(s.options)
	s.grpc = grpc.NewServer(server.ServerOptions()...)
	s.xds.Register(s.grpc)
	s.served.Add(1)
	go func(g *grpc.Server) {
		defer s.served.Done()
		_ = g.Serve(l)
	}(s.grpc)
}

// Server is the server itself.
func (s *Server) Server() *server.Server { return s.xds }

// Stop ends the server and its connections, and returns when all of it is over.
func (s *Server) Stop() {
	if s.grpc != nil {
		s.grpc.Stop()
		s.served.Wait()
		s.grpc = nil
	}
}

// Restart starts a stopped server again on its address. It serves what the Cache has.
func (s *Server) Restart() {
	s.t.Helper()
	s.listen(s.Addr)
}

// CloseStreams ends all streams with Unavailable; the server goes on, and clients may come back.
func (s *Server) CloseStreams() {
	s.xds.Close()
	s.xds = nil
	s.Stop()
	s.Restart()
}

// Set gives a fleet these resources, and nothing else, and makes the cache ready.
func (s *Server) Set(fleet string, resources ...proto.Message) *snapshot.Snapshot {
	s.t.Helper()
	next, err := snapshot.Build(Resources(resources...), s.fleets[fleet])
	if err != nil {
		s.t.Fatal(err)
	}
	s.fleets[fleet] = next
	s.Cache.SetAll(maps.Clone(s.fleets))
	return next
}

// Remove takes a fleet away.
func (s *Server) Remove(fleet string) {
	delete(s.fleets, fleet)
	s.Cache.SetAll(maps.Clone(s.fleets))
}

// Dial connects to the server. The connection is closed with the test.
func (s *Server) Dial() *grpc.ClientConn {
	s.t.Helper()
	return Dial(s.t, s.Addr)
}

// Dial connects in plaintext. The connection is closed with the test.
func Dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Stream opens a scripted stream of node "test" in a fleet.
func (s *Server) Stream(fleet string, isDelta bool) *Stream {
	s.t.Helper()
	return Open(s.t, context.Background(), s.Dial(), fleet, isDelta)
}

// Short is the short name of a type URL, for messages.
func Short(typeURL string) string {
	if t, ok := resource.ByURL(typeURL); ok {
		return t.Short
	}
	return typeURL
}
