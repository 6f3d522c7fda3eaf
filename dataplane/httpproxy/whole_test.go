package httpproxy

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// TestUpstreamDiesAfterTheBody: an origin of HTTP/2 that breaks off when all of the answer's length has gone, but has not said
// yet that this was all, fails no one: the client has its answer, and the next one on the same connection. Streams that share
// a connection to an origin disturb each other so.
func TestUpstreamDiesAfterTheBody(t *testing.T) {
	type connKey struct{}
	for name, breakOff := range map[string]func(r *http.Request){
		"stream": func(*http.Request) { panic(http.ErrAbortHandler) },
		"connection": func(r *http.Request) {
			r.Context().Value(connKey{}).(net.Conn).Close()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			read := make(chan struct{})
			server := &http.Server{
				Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0),
				ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/length" {
						w.Header().Set("Content-Length", "2")
					}
					_, _ = io.WriteString(w, "ok")
					_ = http.NewResponseController(w).Flush()
					if r.URL.Path != "/whole" {
						<-read
						breakOff(r)
					}
				}),
			}
			server.Protocols.SetUnencryptedHTTP2(true)
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = server.Serve(l)
			}()
			t.Cleanup(func() { server.Close(); <-served })
			r := newRig(t, nil, func(r *rig) {
				r.cluster.HTTP2 = true
				r.cluster.Static = []config.Endpoint{{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}}
			})
			c := r.dial()
			for _, ask := range []string{get("/length"), request("POST", "/length", "Content-Length: 3") + "abc"} {
				if a := c.say(ask).answer("GET"); a.body != "ok" || a.err != nil || a.Close {
					t.Fatalf("got %q, %v, close %t, want all of the answer", a.body, a.err, a.Close)
				}
				read <- struct{}{}
			}
			if a := c.say(get("/whole")).answer("GET"); a.body != "ok" || a.err != nil {
				t.Errorf("the next request: got %q, %v", a.body, a.err)
			}
			// Without a length it is cut, and visibly so.
			res, err := http.ReadResponse(c.say(get("/chunked")).r, nil)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 2)
			if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "ok" {
				t.Fatalf("got %q, %v", b, err)
			}
			read <- struct{}{}
			if rest, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("an answer that was cut is taken for whole, with %q", rest)
			}
			if n := r.client.Cluster.Stats.Resets.Load(); n != 3 {
				t.Errorf("%d resets are counted, want 3: the origin has failed, whatever the client has", n)
			}
			r.client.Close()
			for deadline := time.Now().Add(10 * time.Second); r.client.Cluster.Stats.ConnectionsActive.Load() > 0 && time.Now().Before(deadline); {
				runtime.Gosched() // a connection of HTTP/2 ends by itself
			}
		})
	}
}
