package httpproxy

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/http2"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// fickle2 is fickle over HTTP/2: streams are reset, connections end with all that is on them.
func fickle2(t *testing.T) config.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type key struct{}
	s := &http.Server{
		Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key{}, c) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch rand.N(16) {
			case 0:
				_ = r.Context().Value(key{}).(net.Conn).Close()
				return
			case 1, 2: // without a look at the body
				w.WriteHeader(503)
				return
			case 3:
				_, _ = io.CopyN(io.Discard, r.Body, 100)
				panic(http.ErrAbortHandler)
			case 4:
				_, _ = io.CopyN(io.Discard, r.Body, 5000)
				w.WriteHeader(103)
				w.WriteHeader(503)
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			// From here on there are times for all that may take long: they begin at the request's end.
			switch rand.N(12) {
			case 0: // too slow
				<-r.Context().Done()
			case 1: // never ends
				w.WriteHeader(503)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			default:
				_, _ = fmt.Fprintf(w, "%d %08x", len(body), crc32.ChecksumIEEE(body))
			}
		}),
	}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return config.Endpoint{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}
}

// TestRetryChaosHTTP2 is TestRetryChaosWithCopies with HTTP/2 on both sides, and few connections.
func TestRetryChaosHTTP2(t *testing.T) {
	endpoints := []config.Endpoint{fickle2(t), fickle2(t), fickle2(t)}
	over := func(r *rig) { r.cluster.HTTP2, r.cluster.MaxConnections, r.cluster.Static = true, 3, endpoints }
	copies := newRig(t, nil, over)
	policy := config.Retry{On: config.On5xx, Attempts: 6, PerTryTimeout: 100 * time.Millisecond, BodyBytes: 200_000}
	r := newRig(t, nil, over, retrying(policy), func(r *rig) {
		r.routes[0].Timeout = 500 * time.Millisecond
		r.routes[0].Mirrors = []config.Mirror{{Cluster: "copy"}}
		r.others = map[string]*upstream.Client{"copy": copies.client}
	})
	l := r.listen()
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, c)
			r.mu.Unlock()
			r.wg.Go(func() {
				conn := &Conn{Peer: c.RemoteAddr().(*net.TCPAddr).AddrPort(), Local: c.LocalAddr().(*net.TCPAddr).AddrPort(), Draining: &atomic.Bool{}}
				http2.ServeConn(c, http2.ServerOptions{
					MaxHeaderBytes: 60 << 10, MaxHeaderCount: 100, MaxConcurrentStreams: 100,
					Panicked: func(value any, stack []byte) { t.Errorf("panic: %v\n%s", value, stack) },
				}, func(s *http2.ServerStream) { r.proxy.Serve(s, conn) })
			})
		}
	})
	r.address = l.Addr().String()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	chaosOver(t, r, transport, true)
	nothingLeft(t, r, copies)
}
