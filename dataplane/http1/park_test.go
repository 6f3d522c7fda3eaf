package http1

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// TestPark: a connection that has waited for ParkAfter is given back as it is, and served on when it is handed in again; a
// request that has come is read, even if the connection drains or is too old.
func TestPark(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	_ = near.SetDeadline(time.Now().Add(20 * time.Second))
	served := 0
	opts := ServerOptions{ParkAfter: time.Millisecond}
	serve := func() (parked bool) {
		_ = far.SetReadDeadline(time.Time{})
		return ServeConn(far, opts, func(s *ServerStream) {
			served++
			_ = s.Respond(&message.Response{Proto: message.HTTP11, Status: 204}, true)
			_ = s.End(nil)
		})
	}
	ask := func() {
		t.Helper()
		if _, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	for want := range 3 {
		if !serve() || served != want {
			t.Fatalf("%d requests were served, want %d, and the connection parked", served, want)
		}
		ask()
	}
	// Half a head is a request that is on its way: it has its own timeout.
	if !serve() || served != 3 {
		t.Fatalf("%d requests were served, want 3, and the connection parked", served)
	}
	if _, err := io.WriteString(near, "GET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	opts.RequestHeadersTimeout = 20 * time.Millisecond
	opts.Pending, opts.Opened, opts.MaxConnectionDuration = true, time.Now().Add(-time.Hour), time.Minute
	if serve() || served != 3 {
		t.Fatalf("%d requests were served, want 3, and the connection closed", served)
	}
	answers, err := io.ReadAll(near)
	if got := strings.Count(string(answers), "HTTP/1.1 204 "); err != nil || got != 3 || !strings.Contains(string(answers), "HTTP/1.1 408 ") {
		t.Fatalf("got %q, %v, want three 204 and a 408", answers, err)
	}
}

// TestParkTooOld: what has come is served, whatever the connection's age; without Pending it is not.
func TestParkTooOld(t *testing.T) {
	for _, pending := range []bool{true, false} {
		near, far := net.Pipe()
		go func() {
			_, _ = io.WriteString(near, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			_, _ = io.Copy(io.Discard, near)
		}()
		served := false
		ServeConn(far, ServerOptions{Pending: pending, Opened: time.Now().Add(-time.Hour), MaxConnectionDuration: time.Minute},
			func(s *ServerStream) {
				served = true
				_ = s.Respond(&message.Response{Proto: message.HTTP11, Status: 204}, true)
				_ = s.End(nil)
			})
		near.Close()
		if served != pending {
			t.Errorf("pending %v: served %v", pending, served)
		}
	}
}

// TestDrainUntold: a connection that begins to drain when its answer's head has gone waits for the next request, which may be
// under way, and tells that it is the last. If none comes, who wakes it ends it.
func TestDrainUntold(t *testing.T) {
	for _, more := range []bool{true, false} {
		near, far := net.Pipe()
		var draining atomic.Bool
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			ServeConn(far, ServerOptions{Draining: &draining}, func(s *ServerStream) {
				_ = s.Respond(&message.Response{Proto: message.HTTP11, Status: 204}, true)
				_ = s.End(nil)
				draining.Store(true)
			})
		}()
		ask := func() string {
			t.Helper()
			if _, err := io.WriteString(near, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 4096)
			n, err := near.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			return string(buf[:n])
		}
		if answer := ask(); strings.Contains(answer, "close") {
			t.Errorf("before: %q", answer)
		}
		_ = far.SetReadDeadline(past) // as who drains does, and too soon
		if more {
			if answer := ask(); !strings.Contains(answer, "connection: close") {
				t.Errorf("while it drains: %q", answer)
			}
		} else {
			time.AfterFunc(drainWait, func() { _ = far.SetReadDeadline(past) })
			if n, err := near.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("got %d, %v, want the end", n, err)
			}
		}
		_ = near.Close()
		<-ended
	}
}
