package healthcheck

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin answers checks over pipes, so that time is the test's.
type origin struct {
	mu sync.Mutex
	// Guarded by mu: what it answers ("" hangs, "refuse" takes no connection), the requests, and the connections.
	answer   string
	asked    []string
	accepted int
}

func (o *origin) be(answer string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = answer
}

func (o *origin) count() (asked, accepted int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked), o.accepted
}

func (o *origin) dial(context.Context, config.Address) (net.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.answer == "refuse" {
		return nil, errors.New("refused")
	}
	o.accepted++
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		r := bufio.NewReader(far)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			o.mu.Lock()
			o.asked = append(o.asked, req.Method+" "+req.RequestURI+" "+req.Host+" "+req.UserAgent())
			answer := o.answer
			o.mu.Unlock()
			if answer == "" {
				_, _ = io.Copy(io.Discard, r)
				return
			}
			if _, err := io.WriteString(far, "HTTP/1.1 "+answer+" \r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	}()
	return near, nil
}

func checked() *config.HealthCheck {
	return &config.HealthCheck{
		Kind: config.CheckHTTP, Method: "GET", Path: "/up?x=1", Host: "s", Expected: []config.StatusRange{{Start: 200, End: 300}},
		Retriable: []config.StatusRange{{Start: 429, End: 430}}, Timeout: time.Second, Reuse: true,
		Interval: 10 * time.Second, UnhealthyInterval: 5 * time.Second, HealthyEdgeInterval: 3 * time.Second, UnhealthyEdgeInterval: 2 * time.Second,
		NoTrafficInterval: 50 * time.Second, NoTrafficHealthyInterval: 60 * time.Second, HealthyThreshold: 2, UnhealthyThreshold: 3,
	}
}

var here = config.At(netip.MustParseAddrPort("10.0.0.1:80"))

func version(cfg *config.HealthCheck, old *cluster.Cluster, addresses ...config.Address) *cluster.Cluster {
	var list []config.Endpoint
	for _, a := range addresses {
		list = append(list, config.Endpoint{Address: a, Weight: 1})
	}
	return cluster.New(&config.Cluster{Name: "c", HealthCheck: cfg}, list, old)
}

// What an endpoint answers, second by second; the times at which it is asked are the configuration's.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: "200"}
		v := version(checked(), nil, here)
		v.Stats.ConnectionsTotal.Store(1) // there is traffic
		var log bytes.Buffer
		c := New(checked(), o.dial, slog.New(slog.NewTextHandler(&log, nil)))
		if v.Pick() != nil {
			t.Fatal("got an endpoint before its first check")
		}
		c.Follow(v, nil)
		c.Wait(t.Context())
		if v.Pick() == nil {
			t.Fatal("got nobody after the first check, want the endpoint")
		}
		at := func(after time.Duration, healthy bool, asked int) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if n, _ := o.count(); n != asked || (v.Pick() != nil) != healthy {
				t.Errorf("got %d checks and %v, want %d and healthy %v", n, v.Pick(), asked, healthy)
			}
		}
		at(10*time.Second, true, 2) // the interval
		o.be("429")
		at(10*time.Second, true, 3) // retriable: one of three
		at(2*time.Second, true, 4)  // the unhealthy edge's interval
		at(2*time.Second, false, 5)
		at(4*time.Second, false, 5)
		at(1*time.Second, false, 6) // that of the unhealthy
		o.be("201")
		at(5*time.Second, false, 7) // one of two
		at(3*time.Second, true, 8)  // the healthy edge's
		o.be("500")
		at(10*time.Second, false, 9) // an answer that says so
		o.be("")
		at(5*time.Second, false, 10) // none: the time-out
		o.be("200")
		at(6*time.Second, false, 11)
		at(3*time.Second, true, 12)
		c.Close()
		if n, conns := o.count(); n != 12 || conns != 2 {
			t.Errorf("got %d checks on %d connections, want 12 on 2: only the one that hung was closed", n, conns)
		}
		if o.asked[0] != "GET /up?x=1 s Envoy/HC" {
			t.Errorf("got %q", o.asked[0])
		}
		if n, failed := v.Stats.Checks.Load(), v.Stats.CheckFailures.Load(); n != 12 || failed != 6 {
			t.Errorf("got %d checks, %d of them failed, want 12 and 6", n, failed)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 4 || !strings.Contains(log.String(), `why="status 500"`) {
			t.Errorf("got %d lines, want one for each of four changes:\n%s", lines, &log)
		}
	})
}

// A cluster that no connection was made to is asked more seldom, if it does not say otherwise.
func TestNoTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answer: "200"}
		v := version(checked(), nil, here)
		c := New(checked(), o.dial, slog.New(slog.DiscardHandler))
		c.Follow(v, nil)
		for i, step := range []struct {
			answer string
			after  time.Duration
		}{{"200", 0}, {"500", 60 * time.Second}, {"200", 50 * time.Second}, {"200", 60 * time.Second}} {
			o.be(step.answer)
			time.Sleep(max(0, step.after-time.Second))
			synctest.Wait()
			if n, _ := o.count(); i > 0 && n != i {
				t.Errorf("%d: got %d checks a second before the time, want %d", i, n, i)
			}
			time.Sleep(min(step.after, time.Second))
			synctest.Wait()
			if n, _ := o.count(); n != i+1 {
				t.Errorf("%d: got %d checks, want %d", i, n, i+1)
			}
		}
		c.Close()
	})
}

// Versions come: who stays is asked as before, who is gone no more, and who is new at once.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := config.At(netip.MustParseAddrPort("10.0.0.2:80"))
		o := &origin{answer: "200"}
		c := New(checked(), o.dial, slog.New(slog.DiscardHandler))
		one := version(checked(), nil, here)
		one.Stats.ConnectionsTotal.Store(1)
		c.Follow(one, nil)
		c.Wait(t.Context())
		two := version(checked(), one, here, other)
		c.Follow(two, nil)
		synctest.Wait()
		if n, _ := o.count(); n != 2 || !two.Endpoints[1].Healthy() {
			t.Fatalf("got %d checks, want the new one's alone, which is well", n)
		}
		o.be("500")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if two.Pick() != nil {
			t.Error("got an endpoint, want none of them well")
		}
		three := version(checked(), two, other)
		c.Follow(three, nil)
		before, _ := o.count()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n, _ := o.count(); n != before+1 {
			t.Errorf("got %d checks more, want one: the other endpoint is gone", n-before)
		}
		// Another configuration takes over: who is known is not new to it, so one failure is one of three.
		c.Close()
		three.Endpoints[0].Recover(cluster.FailedCheck)
		three.Refresh()
		next := New(checked(), o.dial, slog.New(slog.DiscardHandler))
		o.be("refuse")
		next.Follow(version(checked(), three, other), c)
		synctest.Wait()
		if three.Newest().Pick() == nil {
			t.Error("got nobody after one failure of three")
		}
		time.Sleep(2 * time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if three.Newest().Pick() != nil {
			t.Error("got an endpoint after three failures")
		}
		next.Close()
		next.Absolve()
		if three.Newest().Pick() == nil {
			t.Error("got nobody, want all: nobody asks any more")
		}
	})
}

// Whoever waits for first checks waits no longer than it wants, and not at all where somebody is well.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{}
		c := New(checked(), o.dial, slog.New(slog.DiscardHandler))
		v := version(checked(), nil, here)
		c.Follow(v, nil)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		c.Wait(ctx)
		if d := time.Since(start); d != 300*time.Millisecond {
			t.Errorf("got %v, want as long as may be", d)
		}
		c.Wait(t.Context())
		if d := time.Since(start); d != time.Second {
			t.Errorf("got %v, want the check's time-out", d)
		}
		v.Endpoints[0].Recover(cluster.FailedCheck)
		c.Follow(version(checked(), v, here, config.At(netip.MustParseAddrPort("10.0.0.2:80"))), nil)
		start = time.Now()
		c.Wait(t.Context())
		if d := time.Since(start); d != 0 {
			t.Errorf("got %v, want no wait: one is well", d)
		}
		c.Close()

		// Who becomes well while others are asked does not end the wait for them.
		c = New(checked(), o.dial, slog.New(slog.DiscardHandler))
		v = version(checked(), nil, here)
		c.Follow(v, nil)
		v.Endpoints[0].Recover(cluster.FailedCheck)
		start = time.Now()
		c.Wait(t.Context())
		if d := time.Since(start); d != time.Second {
			t.Errorf("got %v, want the check's time-out", d)
		}
		c.Close()
	})
}

func TestJitter(t *testing.T) {
	cfg := checked()
	cfg.IntervalJitter, cfg.JitterPercent = time.Second, 50
	s := &session{config: cfg, cluster: version(cfg, nil, here)}
	s.cluster.Stats.ConnectionsTotal.Store(1)
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := s.wait(well, false)
		if d < 10*time.Second || d > 16500*time.Millisecond {
			t.Fatalf("got %v, want 10 s to 16.5 s", d)
		}
		seen[d] = true
	}
	if len(seen) < 100 {
		t.Errorf("got %d different times of 1000", len(seen))
	}
}
