package live

import (
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// A connection that waits without a goroutine is not closed for its drain, or its idle time, when its next request has come
// and nobody has been told yet; but it is when it is cut.
func TestLateRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		asks, serves bool
		end          func(w *waiting, c *conn)
	}{
		"drained":           {false, false, func(_ *waiting, c *conn) { c.leave(true) }},
		"drained and asked": {true, true, func(_ *waiting, c *conn) { c.leave(true) }},
		"idle":              {false, false, func(w *waiting, _ *conn) { w.expire(time.Now()) }},
		"idle and asked":    {true, true, func(w *waiting, _ *conn) { w.expire(time.Now()) }},
		"cut and asked":     {true, false, func(_ *waiting, c *conn) { c.cut() }},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			client, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			near, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer near.Close()
			r, resumed, stepped := New(Options{}), 0, false
			// Nobody watches: it stands for a watch that has not had its turn.
			c := &conn{Conn: near, listener: &running{runtime: r}, fd: 1 << 20, until: time.Now()}
			c.resume = func() { resumed++ }
			c.step = func(*conn) bool { stepped = true; return true }
			r.waiting.conns = map[int]*conn{c.fd: c}
			if tt.asks {
				_, _ = io.WriteString(client, "GET")
				for !c.asked() {
					runtime.Gosched()
				}
			}
			tt.end(&r.waiting, c)
			if resumed != 1 {
				t.Errorf("it was resumed %d times, want once", resumed)
			}
			if c.Run(); stepped != tt.serves {
				t.Errorf("serves on: got %v, want %v", stepped, tt.serves)
			}
		})
	}
}
