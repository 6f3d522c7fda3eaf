package httpproxy

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

var websocket = []config.Upgrade{{Protocol: "websocket", Enabled: true}}

func allow(r *rig) { r.http.Upgrades = websocket }

const (
	askWebSocket = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	switching    = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)

// echoing switches, says what it is given, and sends back what comes.
func echoing(first string) origin {
	return func(_ string, c *originConn) {
		c.say(switching + first)
		_, _ = io.Copy(c.Conn, c.r)
	}
}

// read reads n bytes of the other protocol.
func (p *peer) read(n int) string {
	p.t.Helper()
	b := make([]byte, n)
	if got, err := io.ReadFull(p.r, b); err != nil {
		p.t.Fatalf("got %q and error %v, want %d bytes", b[:got], err, n)
	}
	return string(b)
}

// switched reads the 101.
func (p *peer) switched() string {
	p.t.Helper()
	head, err := readHead(p.r)
	if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		p.t.Fatalf("got %q and error %v, want a 101", head, err)
	}
	return plain(head)
}

// settled waits until no protocol is spoken any more.
func (r *rig) settled() {
	for r.proxy.stats.UpgradesActive.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestUpgradeHeads(t *testing.T) {
	r := newRig(t, echoing("first"), allow)
	p := r.dial().say(strings.Replace(askWebSocket, "Connection: Upgrade", "Connection: keep-alive, X-Hop, Upgrade\r\nX-Hop: 1\r\nSec-WebSocket-Key: k", 1))
	if got, want := p.switched(), "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n"; got != want {
		t.Errorf("the client got %q, want %q", got, want)
	}
	if got := p.read(5); got != "first" {
		t.Errorf("got %q behind the 101, want first", got)
	}
	want := "GET /chat HTTP/1.1\r\nhost: a.test\r\nSec-WebSocket-Key: k\r\nx-forwarded-for: 192.0.2.9\r\nx-forwarded-proto: http\r\n" +
		"connection: Upgrade\r\nupgrade: websocket\r\n\r\n"
	if got := plain(r.requests()[0]); got != want {
		t.Errorf("the origin got %q, want %q", got, want)
	}
}

// What a client sends before its 101 waits for it: an origin that does not switch would take it for the next request.
func TestUpgradeEarlyBytes(t *testing.T) {
	r := newRig(t, echoing(""), allow)
	p := r.dial().say(askWebSocket + "GET /early HTTP/1.1\r\n\r\n")
	p.switched()
	if got := p.read(len("GET /early HTTP/1.1\r\n\r\n")); got != "GET /early HTTP/1.1\r\n\r\n" {
		t.Errorf("got %q back", got)
	}
	refusing := newRig(t, say(ok), allow)
	p = refusing.dial().say(askWebSocket + get("/early"))
	if a := p.answer("GET"); a.StatusCode != 200 || !a.Close {
		t.Errorf("got %d, close %v, want 200 and the connection's end", a.StatusCode, a.Close)
	}
	p.ended()
	if got := refusing.requests(); len(got) != 1 {
		t.Errorf("the origin got %q, want the first request alone", got)
	}
}

// An upgrade may come with a body: the new protocol begins behind it.
func TestUpgradeWithBody(t *testing.T) {
	for name, body := range map[string]string{"length": "Content-Length: 5\r\n\r\nhello", "chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			origin := func(head string, c *originConn) {
				if n := len("5\r\nhello\r\n0\r\n\r\n"); strings.Contains(head, "chunked") {
					c.read(n)
				} else {
					c.read(5)
				}
				echoing("")(head, c)
			}
			r := newRig(t, origin, allow)
			p := r.dial().say("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + body + "frames")
			p.switched()
			if got := p.read(6); got != "frames" {
				t.Errorf("got %q, want frames", got)
			}
		})
	}
}

func TestUpgradeAnswers(t *testing.T) {
	other := []config.Upgrade{{Protocol: "websocket"}, {Protocol: "x-other", Enabled: true}}
	tests := []struct {
		name, request, answer string
		change                func(*rig)
		status                int
		// seen is how many requests the origin got.
		seen int
	}{
		{name: "not allowed", request: askWebSocket, answer: switching, change: func(*rig) {}, status: 403},
		{name: "not by its rule", request: askWebSocket, answer: switching, change: func(r *rig) { r.routes[0].Upgrades = other }, status: 403},
		{name: "by its rule alone", request: strings.Replace(askWebSocket, "websocket", "x-OTHER", 1), answer: strings.Replace(switching, "websocket", "X-other", 1),
			change: func(r *rig) { r.routes[0].Upgrades = other }, status: 101, seen: 1},
		{name: "two protocols", request: strings.Replace(askWebSocket, "websocket", "websocket, x", 1), answer: switching, status: 403},
		{name: "in two lines", request: strings.Replace(askWebSocket, "Upgrade: websocket", "Upgrade: x\r\nUpgrade: websocket", 1), answer: switching, status: 403},
		{name: "HTTP/1.0", request: strings.Replace(askWebSocket, "HTTP/1.1", "HTTP/1.0", 1), answer: switching,
			change: func(r *rig) { allow(r); r.options.AcceptHTTP10 = true }, status: 403},
		{name: "to another protocol", request: askWebSocket, answer: strings.Replace(switching, "websocket", "x", 1), status: 502, seen: 1},
		{name: "to no protocol", request: askWebSocket, answer: "HTTP/1.1 101 Switching\r\n\r\n", status: 502, seen: 1},
		{name: "with a length", request: askWebSocket, answer: strings.Replace(switching, "Connection", "Content-Length: 3\r\nConnection", 1), status: 502, seen: 1},
		{name: "unasked", request: get("/"), answer: switching, status: 502, seen: 1},
		{name: "with a body to HTTP/2", request: strings.Replace(askWebSocket, "\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx", 1), answer: switching,
			change: func(r *rig) { allow(r); r.cluster.HTTP2 = true }, status: 403},
		{name: "ambiguous framing", request: strings.Replace(askWebSocket, "\r\n\r\n", "\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 1), answer: switching, status: 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.change == nil {
				test.change = allow
			}
			r := newRig(t, func(_ string, c *originConn) { c.say(test.answer); c.drain() }, test.change)
			p := r.dial().say(test.request)
			head, err := readHead(p.r)
			if err != nil || !strings.HasPrefix(head[len("HTTP/1.x "):], itoa(test.status)) {
				t.Errorf("got %q and error %v, want %d", head, err, test.status)
			}
			if got := r.requests(); len(got) != test.seen {
				t.Errorf("the origin got %q, want %d requests", got, test.seen)
			}
		})
	}
}

// Each side's end is the end of the other, once that has all that was sent; and no connection is used again.
func TestUpgradeEnds(t *testing.T) {
	const much = 3 << 20
	t.Run("origin", func(t *testing.T) {
		r := newRig(t, func(_ string, c *originConn) { c.say(switching + strings.Repeat("x", much)); c.Close() }, allow)
		for range 2 {
			p := r.dial().say(askWebSocket)
			p.switched()
			if got := len(p.rest()); got != much {
				t.Errorf("got %d bytes, want %d", got, much)
			}
		}
		r.settled()
		if n := r.client.Cluster.Stats.ConnectionsTotal.Load(); n != 2 {
			t.Errorf("%d upstream connections were made, want 2", n)
		}
	})
	t.Run("client", func(t *testing.T) {
		got := make(chan int, 1)
		r := newRig(t, func(_ string, c *originConn) {
			c.say(switching)
			b, _ := io.ReadAll(c.r)
			got <- len(b)
		}, allow)
		p := r.dial().say(askWebSocket)
		p.switched()
		p.say(strings.Repeat("x", much)).Close()
		if n := <-got; n != much {
			t.Errorf("the origin got %d bytes, want %d", n, much)
		}
		r.settled()
	})
	t.Run("reset", func(t *testing.T) {
		r := newRig(t, echoing("x"), allow)
		p := r.dial().say(askWebSocket)
		p.switched()
		_ = p.Conn.(*net.TCPConn).SetLinger(0)
		p.Close()
		r.settled()
	})
}

// Neither side's silence but both sides' ends it, and the route's timeout does not.
func TestUpgradeIdle(t *testing.T) {
	r := newRig(t, echoing(""), allow, func(r *rig) {
		r.http.StreamIdleTimeout = time.Second
		r.routes[0].Timeout = time.Millisecond
	})
	p := r.dial().say(askWebSocket)
	p.switched()
	for start := time.Now(); time.Since(start) < 3*r.http.StreamIdleTimeout/2; {
		p.say("x")
		p.read(1)
	}
	if got := p.rest(); strings.HasPrefix(got, "x") {
		t.Errorf("got %q, want the end", got)
	}
	r.settled()
}

// Both ways at once, and every byte.
func TestUpgradeBothWays(t *testing.T) {
	r := newRig(t, echoing(""), allow)
	p := r.dial().say(askWebSocket)
	p.switched()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	go func() { _, _ = p.Write(data) }()
	got := make([]byte, len(data))
	if n, err := io.ReadFull(p.r, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes back and error %v, want the same %d", n, err, len(data))
	}
	if n := r.proxy.stats.UpgradesActive.Load(); n != 1 {
		t.Errorf("%d upgrades are counted, want 1", n)
	}
}
