package httpproxy

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// lean is a client that allocates nothing: it reads an answer whose length it knows.
type lean struct {
	c   net.Conn
	ask []byte
	buf []byte
}

func (l *lean) once(b testing.TB) {
	if _, err := l.c.Write(l.ask); err != nil {
		b.Fatal(err)
	}
	n := 0
	for {
		m, err := l.c.Read(l.buf[n:])
		if err != nil {
			b.Fatal(err)
		}
		if n += m; string(l.buf[n-4:n]) == "done" {
			return
		}
	}
}

// leanOrigin answers each read that ends a request with 128 bytes.
func leanOrigin(_ string, c *originConn) {
	answer := []byte("HTTP/1.1 200 OK\r\nServer: lean\r\nDate: Mon, 23 Nov 2026 22:58:42 GMT\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n")
	for range 124 {
		answer = append(answer, 'x')
	}
	answer = append(answer, "done"...)
	if _, err := c.Write(answer); err != nil {
		return
	}
	buf := make([]byte, 4096)
	c.r = bufio.NewReader(io.MultiReader())
	for {
		if _, err := c.Conn.Read(buf); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func leanClient(t testing.TB, r *rig) *lean {
	p := r.dial()
	return &lean{c: p.Conn, buf: make([]byte, 4096), ask: []byte(get("/api/items?x=1", "User-Agent: lean/1.0", "Accept: */*",
		"Accept-Encoding: gzip, deflate", "Accept-Language: en", "Cookie: a=b; c=d"))}
}

func TestPlainRequestDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's sync.Pool drops what it is given")
	}
	for name, change := range map[string]func(*rig){
		"plain": func(*rig) {},
		// Only who is sent again pays for it.
		"with a retry policy": func(r *rig) {
			r.routes[0].Retry = &config.Retry{On: config.On5xx, Attempts: 3, PerTryTimeout: time.Minute, BackOffBase: time.Millisecond, BackOffMax: time.Second}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, leanOrigin, change)
			l := leanClient(t, r)
			for range 20 {
				l.once(t)
			}
			if n := testing.AllocsPerRun(2000, func() { l.once(t) }); n >= 0.5 {
				t.Errorf("%v allocations per request, want none", n)
			}
		})
	}
}

func BenchmarkPlainRequest(b *testing.B) {
	r := newRig(b, leanOrigin)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		l := leanClient(b, r)
		for pb.Next() {
			l.once(b)
		}
	})
}
