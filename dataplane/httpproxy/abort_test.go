package httpproxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A connection that was kept open and is closed as it is taken costs the client nothing, if repeating does no harm.
func TestRetryOnReusedConnection(t *testing.T) {
	for _, tt := range []struct {
		request string
		status  int
	}{
		{get("/"), 200},
		{request("POST", "/", "Content-Length: 1") + "a", 503},
	} {
		r := newRig(t, func(_ string, c *originConn) {
			if c.served > 0 {
				// The second request on a connection finds it closed.
				c.Close()
				return
			}
			c.say(ok)
		})
		c := r.dial()
		if a := c.say(get("/")).answer("GET"); a.StatusCode != 200 {
			t.Fatalf("got %d", a.StatusCode)
		}
		if a := c.say(tt.request).answer("GET"); a.StatusCode != tt.status {
			t.Errorf("%q: got %d, want %d", tt.request, a.StatusCode, tt.status)
		}
		if got, want := r.client.Cluster.Stats.Retries.Load() == 1, tt.status == 200; got != want {
			t.Errorf("%q: retried %v, want %v", tt.request, got, want)
		}
	}
}

// A fresh connection that fails is not tried again: the upstream may have acted on the request.
func TestNoRetryOnFreshConnection(t *testing.T) {
	r := newRig(t, func(_ string, c *originConn) { c.Close() })
	if a := r.dial().say(get("/")).answer("GET"); a.StatusCode != 503 {
		t.Errorf("got %d, want 503", a.StatusCode)
	}
	if seen := r.requests(); len(seen) != 1 {
		t.Errorf("the origin saw %d requests, want 1", len(seen))
	}
}

// What an upstream sends unasked is not the answer to the next request.
func TestUnsolicitedBytes(t *testing.T) {
	for name, late := range map[string]bool{"with the answer": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan struct{}, 10)
			r := newRig(t, func(_ string, c *originConn) {
				const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
				if late {
					c.say(ok)
					c.say(poison)
				} else {
					c.say(ok + poison)
				}
				sent <- struct{}{}
			})
			for range 3 {
				c := r.dial()
				if a := c.say(get("/")).answer("GET"); a.body != "ok" {
					t.Fatalf("got %q", a.body)
				}
				<-sent
			}
		})
	}
}

// An answer that is cut is visibly not whole.
func TestUpstreamDiesWithinTheBody(t *testing.T) {
	for name, start := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(_ string, c *originConn) { c.say(start); c.Close() })
			a := r.dial().say(get("/")).answer("GET")
			if a.err == nil || a.body != "abc" {
				t.Errorf("got %q, %v, want abc and an error", a.body, a.err)
			}
		})
	}
}

// A client that goes away takes the upstream's work with it.
func TestClientGone(t *testing.T) {
	tests := map[string]func(c *peer){
		"while it waits":       func(c *peer) { c.say(get("/")) },
		"within its body":      func(c *peer) { c.say(request("POST", "/", "Content-Length: 100") + "abc") },
		"within a chunked one": func(c *peer) { c.say(request("POST", "/", "Transfer-Encoding: chunked") + "5\r\nab") },
	}
	for name, ask := range tests {
		t.Run(name, func(t *testing.T) {
			got, ended := make(chan struct{}), make(chan struct{})
			r := newRig(t, func(_ string, c *originConn) {
				close(got)
				c.drain()
				close(ended)
			})
			c := r.dial()
			ask(c)
			<-got
			c.Close()
			<-ended
		})
	}
}

// A client that does not read makes the upstream wait, and costs bounded memory; it is cut off after the idle timeout.
func TestBackPressure(t *testing.T) {
	ended := make(chan int)
	r := newRig(t, func(_ string, c *originConn) {
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		block := bytes.Repeat([]byte("a"), 1<<16)
		total := 0
		for {
			n, err := c.Write(block)
			if total += n; err != nil {
				ended <- total
				return
			}
		}
	}, func(r *rig) { r.http.StreamIdleTimeout = 200 * time.Millisecond })
	r.dial().say(get("/"))
	if n := <-ended; n > 100<<20 {
		t.Errorf("%d bytes were taken for a client that does not read", n)
	}
}

func TestLargeBodies(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	echo := func(head string, c *originConn) {
		if strings.Contains(head, "chunked") {
			var b strings.Builder
			for {
				line, err := c.r.ReadString('\n')
				if err != nil {
					return
				}
				var n int
				for _, d := range strings.TrimSpace(line) {
					n = n<<4 | strings.IndexRune("0123456789abcdef", d)
				}
				b.WriteString(c.read(n))
				c.read(2)
				if n == 0 {
					break
				}
			}
			c.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for s := b.String(); s != ""; {
				n := min(len(s), 1+rand.IntN(100_000))
				c.say(hex(n) + "\r\n" + s[:n] + "\r\n")
				s = s[n:]
			}
			c.say("0\r\n\r\n")
			return
		}
		c.say("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + c.read(1<<20))
	}
	r := newRig(t, echo)
	c := r.dial()
	for range 3 {
		c.say(request("POST", "/", "Content-Length: 1048576") + body)
		if a := c.answer("POST"); a.body != body || a.err != nil {
			t.Fatalf("got %d bytes, %v", len(a.body), a.err)
		}
		go func() {
			c.say(request("POST", "/", "Transfer-Encoding: chunked"))
			for s := body; s != ""; {
				n := min(len(s), 1+rand.IntN(100_000))
				c.say(hex(n) + "\r\n" + s[:n] + "\r\n")
				s = s[n:]
			}
			c.say("0\r\n\r\n")
		}()
		if a := c.answer("POST"); a.body != body || a.err != nil {
			t.Fatalf("chunked: got %d bytes, %v", len(a.body), a.err)
		}
	}
}

func hex(n int) string {
	const digits = "0123456789abcdef"
	s := string(digits[n&15])
	for n >>= 4; n > 0; n >>= 4 {
		s = string(digits[n&15]) + s
	}
	return s
}

func TestDrain(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 1)
	r := newRig(t, func(head string, c *originConn) {
		if strings.HasPrefix(head, "GET /slow") {
			entered <- struct{}{}
			<-release
		}
		c.say(ok)
	})
	idle, busy := r.dial(), r.dial()
	if a := idle.say(get("/")).answer("GET"); a.StatusCode != 200 || a.Close {
		t.Fatalf("got %d, close %v", a.StatusCode, a.Close)
	}
	busy.say(get("/slow"))
	<-entered
	r.drain()
	idle.ended()
	close(release)
	if a := busy.answer("GET"); a.StatusCode != 200 || !a.Close {
		t.Errorf("got %d, close %v, want 200 and the end", a.StatusCode, a.Close)
	}
	busy.ended()
}

func TestIdleTimeout(t *testing.T) {
	r := newRig(t, say(ok), func(r *rig) { r.options.IdleTimeout = 50 * time.Millisecond })
	c := r.dial()
	c.say(get("/")).answer("GET")
	c.ended()
}

func TestHTTP10(t *testing.T) {
	r := newRig(t, say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), func(r *rig) {
		r.options.AcceptHTTP10 = true
	})
	got := plain(r.dial().say("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n").rest())
	if want := "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Clients and origins that break off anywhere leave no goroutine, no connection and no count behind (goleak and the
// rig's own checks see to it), and nobody gets another's answer.
func TestRandomAborts(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	r := newRig(t, func(head string, c *originConn) {
		path := strings.Fields(head)[1]
		body := strings.Repeat(path, 2000)
		answer := "HTTP/1.1 200 OK\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
		if strings.HasPrefix(head, "POST") {
			c.read(5000)
		}
		if rand.IntN(4) == 0 {
			c.say(answer[:rand.IntN(len(answer))])
			c.Close()
			return
		}
		c.say(answer)
	})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			var c net.Conn
			for i := range rounds / 8 {
				if c == nil {
					var err error
					if c, err = net.Dial("tcp", r.address); err != nil {
						t.Error(err)
						return
					}
					_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				}
				path := "/" + itoa(worker) + "-" + itoa(i)
				ask := get(path)
				if rand.IntN(2) == 0 {
					ask = request("POST", path, "Content-Length: 5000") + strings.Repeat("x", 5000)
				}
				if rand.IntN(4) == 0 {
					_, _ = io.WriteString(c, ask[:rand.IntN(len(ask))])
					c.Close()
					c = nil
					continue
				}
				_, _ = io.WriteString(c, ask)
				p := &peer{Conn: c, t: t}
				if !p.check(path) {
					c.Close()
					c = nil
				}
			}
			if c != nil {
				c.Close()
			}
		})
	}
	wg.Wait()
	r.proxy.stats.Requests.Load()
}

// check reads an answer; false ends the connection. What was answered must be ours.
func (p *peer) check(path string) bool {
	head := make([]byte, 0, 512)
	b := make([]byte, 1)
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		if _, err := p.Conn.Read(b); err != nil {
			return false
		}
		head = append(head, b[0])
	}
	text := string(head)
	if !strings.HasPrefix(text, "HTTP/1.1 200") {
		return false
	}
	got, err := io.ReadAll(io.LimitReader(p.Conn, int64(len(path)*2000)))
	if !strings.HasPrefix(strings.Repeat(path, 2000), string(got)) {
		p.t.Errorf("asked for %s, got %.100q", path, got)
	}
	return err == nil && len(got) == len(path)*2000 && !strings.Contains(text, "connection: close")
}

func itoa(n int) string {
	if n < 10 {
		return string('0' + byte(n))
	}
	return itoa(n/10) + string('0'+byte(n%10))
}

func TestMaxConnections(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{}, 4)
	r := newRig(t, func(_ string, c *originConn) {
		entered <- struct{}{}
		<-release
		c.say(ok)
	}, func(r *rig) { r.cluster.MaxConnections, r.cluster.MaxPending = 1, 1 })
	first, second := r.dial().say(get("/1")), r.dial()
	<-entered
	second.say(get("/2"))
	// Either the second waits and the third overflows, or the other way round.
	third := r.dial().say(get("/3"))
	results := make(chan int, 2)
	for _, c := range []*peer{second, third} {
		go func() { results <- c.answer("GET").StatusCode }()
	}
	if status := <-results; status != 503 {
		t.Errorf("got %d, want 503 for who overflows", status)
	}
	close(release)
	if a := first.answer("GET"); a.StatusCode != 200 {
		t.Errorf("got %d", a.StatusCode)
	}
	if status := <-results; status != 200 {
		t.Errorf("got %d, want 200 for who waited", status)
	}
	if n := r.client.Cluster.Stats.ConnectionsTotal.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestUpstreamIdleTimeout(t *testing.T) {
	ended := make(chan struct{})
	r := newRig(t, func(_ string, c *originConn) {
		c.say(ok)
		if _, err := c.r.Peek(1); err == io.EOF {
			close(ended)
		}
	}, func(r *rig) { r.cluster.IdleTimeout = 30 * time.Millisecond })
	r.dial().say(get("/")).answer("GET")
	<-ended
}
