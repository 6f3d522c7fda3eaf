package load

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/origin"
	"github.com/sluice-proxy/sluice/e2e/harness"
)

var served struct {
	sync.Once
	origin.Addresses
}

// serve is an origin, which runs until the program ends: there is one in a process, since its buffer is.
func serve(t *testing.T) origin.Addresses {
	t.Helper()
	served.Do(func() { served.Addresses = startOrigin(t) })
	return served.Addresses
}

func startOrigin(t *testing.T) origin.Addresses {
	t.Helper()
	a := origin.Addresses{HTTP1: harness.Loopback(t), HTTP2: harness.Loopback(t), GRPC: harness.Loopback(t), Echo: harness.Loopback(t)}
	go func() {
		panic(origin.Serve(a)) // it serves for ever
	}()
	for _, addr := range []string{a.HTTP1, a.HTTP2, a.GRPC, a.Echo} {
		harness.Eventually(t, nil, "origin", func() error {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				err = c.Close()
			}
			return err
		})
	}
	return a
}

// TestLoads: each load is answered by the origin itself, runs twice, and leaves nothing in flight.
func TestLoads(t *testing.T) {
	a := serve(t)
	for _, c := range []struct {
		name, addr string
		kind       Kind
	}{
		{"HTTP/1.1", a.HTTP1, HTTP1{Request: Get("x.test", "/"), Size: 128}},
		{"HTTP/1.1, download", a.HTTP1, HTTP1{Request: Get("x.test", "/b/1048576"), Size: 1 << 20}},
		{"HTTP/1.1, upload", a.HTTP1, HTTP1{Request: Post("x.test", "/", origin.Body(1<<20)), Size: 128}},
		{"HTTP/2", a.HTTP2, HTTP2{Streams: 16, Fields: GetFields("x.test", "/"), Size: 128}},
		{"gRPC", a.GRPC, HTTP2{Streams: 16, Fields: GRPCFields("x.test"), Body: origin.GRPCMessage(), Size: 133}},
		{"WebSocket", a.HTTP1, Echo{Upgrade: Upgrade("x.test", "/"), Message: Message(origin.Body(128))}},
		{"echo", a.Echo, Echo{Message: origin.Body(1 << 20)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Open(c.addr, 4, nil, c.kind)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for range 2 {
				done, _, err := l.Run(20 * time.Millisecond)
				if err != nil {
					t.Fatal(err)
				}
				if done < 4 || l.inFlight != 0 {
					t.Errorf("got %d answers and %d in flight, want 4 at least, and none", done, l.inFlight)
				}
			}
		})
	}
}

// answers is a server that says the same to whatever comes, and closes if that is empty.
func answers(t *testing.T, text string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for b := make([]byte, 4096); ; {
					if _, err := c.Read(b); err != nil || text == "" {
						return
					}
					_, _ = c.Write([]byte(text))
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestBadAnswers: what is not the answer is an error, and never a count.
func TestBadAnswers(t *testing.T) {
	h1 := HTTP1{Request: Get("x.test", "/"), Size: 2}
	h2 := HTTP2{Streams: 1, Fields: GetFields("x.test", "/"), Size: 2}
	for _, c := range []struct {
		name, answer string
		kind         Kind
		want         string
	}{
		{"another status", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", h1, "want status 200"},
		{"another length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", h1, "content-length: 2"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\nok", h1, "content-length: 2"},
		{"too much", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokok", h1, "2 bytes after an answer"},
		{"closed", "", h1, "connection ended after 0 answers: EOF"},
		{"another status of HTTP/2", "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x8d", h2, "want status 200"},
		{"no body", "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88", h2, "a body of 0 bytes, want 2"},
		{"a reset", "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x07", h2, "stream 1: reset with 00000007"},
		{"the end", "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00", h2, "GOAWAY"},
		{"no switch", "HTTP/1.1 200 OK\r\n\r\n", Echo{Upgrade: Upgrade("x.test", "/"), Message: []byte("ok")}, "want status 101"},
		{"other bytes", "xx", Echo{Message: []byte("ok")}, "were not sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := Open(answers(t, c.answer), 1, nil, c.kind)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if done, _, err := l.Run(time.Millisecond); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %d answers and %v, want an error with %q", done, err, c.want)
			}
		})
	}
}

// TestPaced: all requests of a time are sent, and measured from when they were meant to go.
func TestPaced(t *testing.T) {
	a := serve(t)
	p, err := Pace(a.HTTP1, 2, HTTP1{Request: Get("x.test", "/"), Size: 128}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := p.Run(1000, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.sorted) != 100 || got.Percentile(50) <= 0 || got.Percentile(50) > got.Percentile(99) {
		t.Errorf("got %d latencies, %v and %v, want 100 in order", len(got.sorted), got.Percentile(50), got.Percentile(99))
	}
}

// TestPacedCountsFailures: a request without an answer is counted, and the next goes over a new connection.
func TestPacedCountsFailures(t *testing.T) {
	p, err := Pace(answers(t, ""), 2, HTTP1{Request: Get("x.test", "/"), Size: 2}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got, err := p.Run(1000, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if got.Failed != 20 || len(got.sorted) != 0 {
		t.Errorf("got %d failures and %d answers, want 20 and none", got.Failed, len(got.sorted))
	}
}

// TestNoAllocations: a request allocates nothing, so that no garbage collector is in the figures.
func TestNoAllocations(t *testing.T) {
	a := serve(t)
	l, err := Open(a.HTTP1, 4, nil, HTTP1{Request: Get("x.test", "/"), Size: 128})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var done int64
	allocs := testing.AllocsPerRun(1, func() {
		n, _, err := l.Run(50 * time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		done = n
	})
	if allocs > 50 && allocs > float64(done)/100 {
		t.Errorf("got %.0f allocations for %d requests, want none for a request", allocs, done)
	}
}
