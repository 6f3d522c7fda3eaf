package httpproxy

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// mirroring are a proxy and another whose cluster gets copies of what the first one serves.
func mirroring(t *testing.T, o, copies origin, mirror config.Mirror, change ...func(*rig)) (r, c *rig) {
	t.Helper()
	c = newRig(t, copies, change...)
	mirror.Cluster = "copy"
	r = newRig(t, o, func(r *rig) {
		r.routes[0].Mirrors = []config.Mirror{mirror}
		r.others = map[string]*upstream.Client{"copy": c.client}
	})
	return r, c
}

// eventually waits for what no answer waits for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

func TestMirror(t *testing.T) {
	bodies := make(chan string, 2)
	readAll := func(_ string, c *originConn) {
		bodies <- c.read(3)
		c.say(ok)
	}
	r, c := mirroring(t, readAll, readAll, config.Mirror{ShadowHost: true})
	p := r.dial().say(request("POST", "/x?y", "X-A: b", "Content-Length: 3") + "abc")
	if a := p.answer("POST"); a.StatusCode != 200 || a.body != "ok" {
		t.Fatalf("got %d %q", a.StatusCode, a.body)
	}
	if a, b := <-bodies, <-bodies; a != "abc" || b != "abc" {
		t.Errorf("got bodies %q, %q", a, b)
	}
	const want = "POST /x?y HTTP/1.1\r\nhost: a.test-shadow\r\nX-A: b\r\nx-forwarded-for: 192.0.2.9,192.0.2.9\r\n" +
		"x-forwarded-proto: http\r\nx-envoy-internal: true\r\ncontent-length: 3\r\n\r\n"
	if seen := c.requests(); len(seen) != 1 || plain(seen[0]) != want {
		t.Errorf("the copy is\n%q\nwant\n%q", seen, want)
	}
	stats := c.client.Cluster.Stats
	eventually(t, "the copy's end", func() bool { return stats.RequestsActive.Load() == 0 })
	if n, dropped := stats.Mirrors.Load(), stats.MirrorsDropped.Load(); n != 1 || dropped != 0 || stats.Status[2].Load() != 1 {
		t.Errorf("got %d copies, %d dropped", n, dropped)
	}
	if n := mirrored.Load(); n != 0 {
		t.Errorf("%d bytes wait still", n)
	}
}

// An endpoint that reads no copy costs bounded memory, and no request waits for it.
func TestMirrorThatStandsStill(t *testing.T) {
	hold := make(chan struct{})
	r, c := mirroring(t, func(_ string, c *originConn) { c.read(8 << 20); c.say(ok) }, func(string, *originConn) { <-hold }, config.Mirror{})
	defer close(hold)
	p := r.dial().say(request("POST", "/", "Content-Length: 8388608"))
	go func() { _, _ = io.WriteString(p, strings.Repeat("x", 8<<20)) }()
	if a := p.answer("POST"); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	stats := c.client.Cluster.Stats
	eventually(t, "the copy to be given up", func() bool { return stats.MirrorsDropped.Load() == 1 && stats.RequestsActive.Load() == 0 })
	if n := mirrored.Load(); n != 0 {
		t.Errorf("%d bytes wait still", n)
	}
}

// What is not whole is not finished: a copy ends where its request ends.
func TestMirrorOfABrokenRequest(t *testing.T) {
	broken := make(chan string, 1)
	r, c := mirroring(t, func(_ string, c *originConn) { c.drain() }, func(_ string, c *originConn) {
		b, _ := io.ReadAll(c.r)
		broken <- string(b)
	}, config.Mirror{})
	p := r.dial().say(request("POST", "/", "Transfer-Encoding: chunked") + "3\r\nabc\r\n")
	eventually(t, "the copy's head", func() bool { return len(c.requests()) == 1 })
	p.Close()
	if got := <-broken; strings.Contains(got, "0\r\n") {
		t.Errorf("the copy is %q, want no end", got)
	}
	stats := c.client.Cluster.Stats
	eventually(t, "the copy to be given up", func() bool { return stats.MirrorsDropped.Load() == 1 && stats.RequestsActive.Load() == 0 })
}

// Copies are for who has room: the circuit breaker is the cluster's own.
func TestMirrorWithoutRoom(t *testing.T) {
	r, c := mirroring(t, say(ok), say(ok), config.Mirror{}, func(r *rig) { r.cluster.MaxRequests = 0 })
	if a := r.dial().say(get("/")).answer("GET"); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	stats := c.client.Cluster.Stats
	if n, dropped := stats.Mirrors.Load(), stats.MirrorsDropped.Load(); n != 0 || dropped != 1 || len(c.requests()) > 0 {
		t.Errorf("got %d copies, %d dropped, want 0, 1", n, dropped)
	}
}

// Many copies for an endpoint that does not answer are bounded in memory, all together; requests go on.
func TestMirrorsThatWait(t *testing.T) {
	hold := make(chan struct{})
	r, c := mirroring(t, say(ok), func(_ string, c *originConn) { <-hold; c.say(ok) }, config.Mirror{})
	p := r.dial()
	if a := p.say(get("/")).answer("GET"); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	if n := mirrored.Load(); n < mirrorCost {
		t.Errorf("one copy waits: %d bytes are counted, want %d at least", n, mirrorCost)
	}
	mirrored.Add(mirrorMemory)
	if a := p.say(get("/")).answer("GET"); a.StatusCode != 200 {
		t.Errorf("no room for a copy: got %d", a.StatusCode)
	}
	mirrored.Add(-mirrorMemory)
	stats := c.client.Cluster.Stats
	if n, dropped := stats.Mirrors.Load(), stats.MirrorsDropped.Load(); n != 1 || dropped != 1 {
		t.Errorf("got %d copies, %d dropped, want 1, 1", n, dropped)
	}
	close(hold)
	eventually(t, "the copy's end", func() bool { return stats.RequestsActive.Load() == 0 })
	if n := mirrored.Load(); n != 0 {
		t.Errorf("%d bytes are counted still", n)
	}
}

// A share is of the request's draw; none is none.
func TestMirrorFraction(t *testing.T) {
	r, c := mirroring(t, say(ok), say(ok), config.Mirror{Fraction: &config.Fraction{Numerator: 0, Denominator: 100}})
	if a := r.dial().say(get("/")).answer("GET"); a.StatusCode != 200 {
		t.Fatalf("got %d", a.StatusCode)
	}
	if n := c.client.Cluster.Stats.Mirrors.Load(); n != 0 {
		t.Errorf("got %d copies, want none", n)
	}
}
