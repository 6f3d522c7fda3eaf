package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestSoak: clients and origins break off wherever they like, HTTP/1.1 and HTTP/2 on both sides, and leave nothing behind
// in the proxy: no goroutine, no descriptor, no count. Whatever a client receives is of its own answer, and what it takes
// for whole is whole.
//
// SOAK is the number of requests; `make soak` sends a million.
func TestSoak(t *testing.T) {
	total := 20_000
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if total, err = strconv.Atoi(text); err != nil || total < 1 {
			t.Fatalf("SOAK: got %q, want a number of requests", text)
		}
	} else if testing.Short() {
		total = 2_000
	}
	s := &soak{t: t, total: int64(total)}
	one, two := s.startOrigin(), s.startH2Origin()
	stage := harness.NewStage(t, nil)
	definitions := func(one, two string) []txtar.File {
		return []txtar.File{{Name: "soak.yaml", Data: []byte(`kind: Gateway
name: web
listeners:
  - {name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}
  - {name: https, address: 127.0.0.1, port: {{port "https"}}, protocol: HTTPS, certificates: [soak]}
---
{kind: Certificate, name: soak, selfSigned: {hosts: [soak.test]}}
---
kind: Route
name: soak
gateways: [web]
hosts: [soak.test]
rules:
  - {match: {path: {prefix: /slow}}, timeout: 100ms, backends: [{service: one}]}
  - {match: {path: {prefix: /slow2}}, timeout: 100ms, backends: [{service: two}]}
  - {match: {path: {prefix: /one}}, backends: [{service: one}]}
  - {match: {path: {prefix: /two}}, backends: [{service: two}]}
---
kind: Service
name: one
endpoints: [` + one + `]
---
kind: Service
name: two
protocol: HTTP2
endpoints: [` + two + `]
`)}}
	}
	stage.Write(t, definitions(one, two))
	cp := harness.StartControlPlane(t, stage.Dir)
	proxy := harness.StartProxy(t, harness.Go, cp.Addr, "default", "soak")
	proxy.WaitReady()
	s.http, s.https = stage.Addr(t, "127.0.0.1", "http"), stage.Addr(t, "127.0.0.1", "https")

	// The services lose their endpoints, so that the proxy lets go of the connections it keeps for them: what there is then,
	// before the first request, there must be at the end, and no more.
	settle := func(what string, want figures) figures {
		stage.Write(t, definitions("", ""))
		var least figures
		looks := 0
		harness.Eventually(t, proxy.Process, what, func() error {
			page := proxy.AdminGet("/stats/prometheus")
			sum := func(pattern string) int { return int(harness.Sum(t, page, pattern)) }
			got := figures{goroutines: sum(`go_goroutines`), descriptors: descriptors(t, proxy),
				memory: sum(`process_resident_memory_bytes`)}
			for _, gauge := range []string{
				`sluice_listener_connections_active\{.*\}`, `sluice_http_requests_active\{.*\}`,
				`sluice_cluster_requests_active\{.*\}`, `sluice_cluster_connections_active\{.*\}`, `sluice_cluster_endpoints\{.*\}`,
			} {
				if n := sum(gauge); n != 0 {
					return fmt.Errorf("%s is %d, want 0", gauge, n)
				}
			}
			// What comes and goes, a timer's goroutine or the connection of this very question, is not what is held: the least
			// of some looks is.
			if looks++; looks == 1 {
				least = got
			}
			least.goroutines = min(least.goroutines, got.goroutines)
			least.descriptors = min(least.descriptors, got.descriptors)
			least.memory = got.memory
			if looks < 10 {
				return errNotYet
			}
			if want.goroutines > 0 && (least.goroutines > want.goroutines || least.descriptors > want.descriptors) {
				return fmt.Errorf("%d goroutines and %d descriptors, want %d and %d", least.goroutines, least.descriptors, want.goroutines, want.descriptors)
			}
			return nil
		})
		return least
	}
	before := settle("at rest before", figures{})
	stage.Write(t, definitions(one, two))
	harness.Eventually(t, proxy.Process, "the services are back", func() error {
		page := proxy.AdminGet("/stats/prometheus")
		if n := harness.Sum(t, page, `sluice_cluster_endpoints\{.*\}`); n != 2 {
			return fmt.Errorf("%v endpoints, want 2", n)
		}
		return nil
	})
	start := time.Now()
	unfollow := s.followLog(proxy)
	s.run(s.total)
	took := time.Since(start)
	after := settle("at rest after", before)

	t.Logf("%d requests in %v: %s", total, took.Round(time.Millisecond), s.counts.String())
	t.Logf("before: %v; after: %v", before, after)
	unfollow()
	s.check()
}

// figures are what the proxy holds.
type figures struct{ goroutines, descriptors, memory int }

func (f figures) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d MiB", f.goroutines, f.descriptors, f.memory>>20)
}

// descriptors counts them from outside: the proxy's own count could not see what it forgot.
func descriptors(t *testing.T, p *harness.Proxy) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	n, kept := 0, 0
	for _, entry := range entries {
		what, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", p.PID(), entry.Name()))
		switch {
		case err != nil: // closed by now
		case strings.HasPrefix(what, "pipe:"), strings.HasPrefix(what, "anon_inode:"):
			kept++
		default:
			n++
		}
	}
	// Pipes for splicing are kept for the next, and so are poll sets, once they are made: a few.
	if kept > 80 {
		t.Errorf("%d pipes and poll sets, want at most 80", kept)
	}
	return n
}

// soak is a run: who asks, who answers, and what went wrong.
type soak struct {
	t           *testing.T
	total       int64
	http, https string
	counts      counts

	left atomic.Int64

	mu    sync.Mutex
	wrong []string // guarded by mu
	// followed is what the proxy has logged of requests, by their tokens. Guarded by mu.
	followed map[string]string
}

// counts are what became of the requests.
type counts struct {
	// whole are answers of 200 that came to their end; cut were broken off by the other side, left by the client.
	whole, cut, left atomic.Int64
	// statuses are other answers, most of them the proxy's own.
	statuses [600]atomic.Int64
	// spoilt are requests over HTTP/1.1 that nobody disturbed, and that failed all the same.
	spoilt atomic.Int64
}

// String is for the log.
func (c *counts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d whole, %d cut, %d left,", c.whole.Load(), c.cut.Load(), c.left.Load())
	for status := range c.statuses {
		if n := c.statuses[status].Load(); n > 0 {
			fmt.Fprintf(&b, " %d × %d,", n, status)
		}
	}
	fmt.Fprintf(&b, " %d spoilt", c.spoilt.Load())
	return b.String()
}

// fault notes what must never be.
func (s *soak) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) < 20 {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}

func (s *soak) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wrong {
		s.t.Error(w)
	}
	for token, line := range s.followed {
		s.t.Logf("the proxy on %s: %s", token, cmp.Or(line, "nothing"))
	}
	if whole := s.counts.whole.Load(); whole < s.total/4 {
		s.t.Errorf("%d of %d answers were whole, want at least a quarter: else this proves little", whole, s.total)
	}
}

// run sends n requests, and returns when all have ended.
func (s *soak) run(n int64) {
	s.left.Store(n)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(s.http1Client)
	}
	for i := range 4 {
		wg.Go(func() { s.http2Client(i%4 == 0) })
	}
	wg.Wait()
}

// another takes a request's number; false is the end.
func (s *soak) another() bool { return s.left.Add(-1) >= 0 }

// plan is a request, and what its origin does with it. It travels in the header x-plan.
type plan struct {
	// token marks the request's body and its answer.
	token uint64
	// act is what the origin does: one of acts.
	act string
	// size is of the answer's body, chunked without its length. at is how much of it is sent by an act that breaks off.
	size, at int
	chunked  bool
	// sent is the size of the request's body; -1 is none.
	sent int
	// path is where the request went; the origin is not told.
	path string
}

// acts are what an origin does.
var acts = []string{
	"answer", // the rest of the time
	"refuse", // closes without an answer
	"head",   // closes within the head
	"body",   // closes within the body
	"close",  // closes after the whole answer, unannounced
	"early",  // answers before it reads, and closes
	"until",  // HTTP/1: the body ends with the connection
}

func newPlan() plan {
	p := plan{token: rand.Uint64(), act: "answer", sent: -1, chunked: rand.IntN(2) == 0, size: soakSize()}
	if rand.IntN(3) == 0 {
		p.act = acts[rand.IntN(len(acts))]
	}
	if p.act == "body" {
		p.size++ // none cannot be broken off
	}
	p.at = rand.IntN(p.size + 1)
	if rand.IntN(2) == 0 {
		p.sent = soakSize()
	}
	return p
}

// soakSize is most often small, seldom more than all buffers hold.
func soakSize() int {
	switch n := rand.IntN(100); {
	case n < 10:
		return 0
	case n < 80:
		return rand.IntN(300)
	case n < 98:
		return rand.IntN(10_000)
	default:
		return rand.IntN(300_000)
	}
}

func (p plan) String() string {
	return fmt.Sprintf("%016x %s %d %d %t %d", p.token, p.act, p.size, p.at, p.chunked, p.sent)
}

func parsePlan(text string) (p plan, err error) {
	_, err = fmt.Sscanf(text, "%x %s %d %d %t %d", &p.token, &p.act, &p.size, &p.at, &p.chunked, &p.sent)
	return p, err
}

// own fills b with what a request's body, or its answer's, has from an offset on: its token, over and over.
func (p plan) own(b []byte, from int) []byte {
	mark := fmt.Sprintf("%016x\n", p.token)
	for n := copy(b, mark[from%len(mark):]); n < len(b); {
		n += copy(b[n:], mark)
	}
	return b
}

// ownReader checks what is read against what the plan's own body must be.
type ownReader struct {
	plan plan
	n    int
	want [4096]byte
}

// take tells whether the next bytes are the plan's own.
func (o *ownReader) take(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(o.want))
		if string(o.plan.own(o.want[:n], o.n)) != string(b[:n]) {
			return false
		}
		o.n += n
		b = b[n:]
	}
	return true
}

// end closes a connection, with FIN or, half the time, with RST.
func end(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok && rand.IntN(2) == 0 {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
