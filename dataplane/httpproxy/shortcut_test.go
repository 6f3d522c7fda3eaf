package httpproxy

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestShortcutSizes: bodies around the size from which on they go through the kernel come whole, with what follows them
// on the connection, both ways, in one piece or in many.
func TestShortcutSizes(t *testing.T) {
	text := strings.Repeat("0123456789abcdefghijklmnopq", 2<<20/27+1)
	r := newRig(t, func(head string, c *originConn) {
		_, rest, _ := strings.Cut(head, "content-length: ")
		n, _ := strconv.Atoi(rest[:strings.IndexByte(rest, '\r')])
		body := c.read(n)
		c.say("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n")
		for body != "" { // some of it comes while the proxy moves the rest
			n := min(len(body), 300_000)
			c.say(body[:n])
			body = body[n:]
		}
	})
	c := r.dial()
	var sent int64
	for _, n := range []int{1, large - 1, large, large + 1, large + tail, 2 << 20} {
		go c.say(request("POST", "/", "Content-Length: "+strconv.Itoa(n)) + text[:n] + request("POST", "/after", "Content-Length: 3") + "end")
		if a := c.answer("POST"); a.err != nil || a.body != text[:n] {
			t.Fatalf("%d bytes: got %d, %v, or they differ", n, len(a.body), a.err)
		}
		if a := c.answer("POST"); a.err != nil || a.body != "end" {
			t.Fatalf("after %d bytes: got %q, %v", n, a.body, a.err)
		}
		sent += int64(n) + 3
	}
	if got := len(r.requests()); got != 12 {
		t.Errorf("the origin saw %d requests, want 12", got)
	}
	c.Close()
	r.close()
	if in, out := r.proxy.stats.BytesReceived.Load(), r.proxy.stats.BytesSent.Load(); in != sent || out != sent {
		t.Errorf("counted %d bytes in and %d out, want %d", in, out, sent)
	}
}

// TestShortcutBroken: an answer that is cut in the middle of a large body is visibly not whole, and what is more than its
// length never reaches the client.
func TestShortcutBroken(t *testing.T) {
	body := strings.Repeat("x", 700_000)
	t.Run("cut", func(t *testing.T) {
		r := newRig(t, func(_ string, c *originConn) {
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + body)
			c.Close()
		})
		if a := r.dial().say(get("/")).answer("GET"); a.err == nil || len(a.body) > len(body) {
			t.Errorf("got %d bytes and %v, want an error", len(a.body), a.err)
		}
	})
	t.Run("too much", func(t *testing.T) {
		r := newRig(t, func(_ string, c *originConn) {
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n" + body + "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
			c.drain()
		})
		c := r.dial()
		for range 2 {
			if a := c.say(get("/")).answer("GET"); a.err != nil || a.body != body {
				t.Errorf("got %d bytes, %v", len(a.body), a.err)
			}
		}
	})
	t.Run("client's", func(t *testing.T) {
		got := make(chan string, 1)
		r := newRig(t, func(_ string, c *originConn) { got <- c.read(1_000_000) })
		c := r.dial().say(request("POST", "/", "Content-Length: 1000000") + body)
		c.Close()
		if n := len(<-got); n > len(body) {
			t.Errorf("the origin got %d bytes, want %d at most", n, len(body))
		}
	})
}

// TestShortcutIdle: a large body that moves, however slowly, is not idle; one that stops is, on either side.
func TestShortcutIdle(t *testing.T) {
	const idle = time.Second
	set := func(r *rig) { r.http.StreamIdleTimeout = idle }
	block := strings.Repeat("y", 100_000)
	t.Run("slow", func(t *testing.T) {
		r := newRig(t, func(_ string, c *originConn) {
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			for range 10 {
				c.say(block)
				_ = c.SetReadDeadline(time.Now().Add(idle / 5))
				c.read(1) // nothing comes: it is the pause
			}
		}, set)
		if a := r.dial().say(get("/")).answer("GET"); a.err != nil || len(a.body) != 1_000_000 {
			t.Errorf("got %d bytes and %v, want all: it took longer than the timeout, and moved", len(a.body), a.err)
		}
	})
	t.Run("slow client", func(t *testing.T) {
		const size, step = 24 << 20, 2 << 20
		r := newRig(t, func(_ string, c *originConn) {
			c.say("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n")
			_, _ = c.Write(make([]byte, size))
		}, set)
		c := r.dial().say(get("/"))
		if _, err := readHead(c.r); err != nil {
			t.Fatal(err)
		}
		for read := 0; read < size; read += step {
			if _, err := io.CopyN(io.Discard, c.r, step); err != nil {
				t.Fatalf("after %d bytes: %v", read, err)
			}
			<-time.After(idle / 4) // its pace
		}
	})
	t.Run("stops", func(t *testing.T) {
		ended := make(chan struct{})
		r := newRig(t, func(_ string, c *originConn) {
			c.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + block)
			c.drain()
			close(ended)
		}, set)
		if a := r.dial().say(get("/")).answer("GET"); a.err == nil || a.body != block {
			t.Errorf("got %d bytes and %v, want what came and an error", len(a.body), a.err)
		}
		<-ended
	})
}
