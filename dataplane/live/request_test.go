package live

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
)

func TestPace(t *testing.T) {
	for _, test := range []struct {
		name string
		// each read brings so many bytes after so long, times times.
		bytes int
		after time.Duration
		times int
		slow  bool
	}{
		{"fast", 1000, time.Millisecond, 1000, false},
		{"just fast enough", 100, time.Second, 1000, false},
		{"too slow", 99, time.Second, 3000, true},
		{"a byte now and then", 1, 10 * time.Second, 10, true},
		{"slow at first", 0, 19 * time.Second, 1, false},
		{"slow for too long", 0, 21 * time.Second, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var slow atomic.Int64
				p := pace{rate: 100, grace: 20 * time.Second, slow: &slow}
				var err error
				for range test.times {
					_, err = p.read(func([]byte) (int, error) { time.Sleep(test.after); return test.bytes, nil }, nil)
					if err != nil {
						break
					}
					time.Sleep(time.Hour) // what the upstream takes is not the client's fault
				}
				var why *failure.Error
				if (err != nil) != test.slow || slow.Load() > 0 != test.slow || test.slow && (!errors.As(err, &why) || why.Status() != 408) {
					t.Errorf("got %v, %d counted, want slow: %v", err, slow.Load(), test.slow)
				}
			})
		})
	}
}

// TestPaceCountsWhatIsSpliced: a large body goes from socket to socket, and is not slow for it.
func TestPaceCountsWhatIsSpliced(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	go func() { _, _ = io.WriteString(far, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n") }()
	http1.ServeConn(near, http1.ServerOptions{}, func(s *http1.ServerStream) {
		p := &paced1{ServerStream: s}
		p.TookFrom(400)
		if _, left := p.Source(); p.pace.got != 400 || left != 600 {
			t.Errorf("%d bytes counted, %d left, want 400 and 600", p.pace.got, left)
		}
	})
}

// TestSlowBody: a body that comes too slowly is given up with 408, in both protocols; one that is fast is not.
func TestSlowBody(t *testing.T) {
	r := newRuntimeWith(t, Options{MinBodyRate: 1 << 30})
	c := makeConfig(map[string]config.Endpoint{"v1": origin(t, "v1")})
	c.RouteTables["web"] = table("web", "v1")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("web", "web"))
	r.slowGrace = 20 * time.Millisecond
	apply(t, r, c)
	address := r.addressOf(t, "web")

	conn := dial(t, address)
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n")
	answered := make(chan struct{})
	go trickle(conn, answered)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	close(answered)
	if err != nil || res.StatusCode != 408 || !res.Close {
		t.Fatalf("HTTP/1: got %v, %v, want 408 and the end", res, err)
	}

	h2 := newClient(t, address, "http", "h2c")
	body, writer := io.Pipe()
	answered = make(chan struct{})
	go func() { trickle(writer, answered); writer.Close() }()
	res, err = h2.Post("http://a.test/", "", body)
	close(answered)
	if err != nil || res.StatusCode != 408 {
		t.Fatalf("HTTP/2: got %v, %v, want 408", res, err)
	}
	res.Body.Close()
	eventually(t, "both are counted", func() bool { return r.View().Listeners[0].BodiesSlow == 2 })

	res, err = h2.Post("http://a.test/", "", strings.NewReader("all at once"))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("got %v, %v, want 200", res, err)
	}
	res.Body.Close()
}

// trickle writes a byte at a time until nobody takes it, or done.
func trickle(w io.Writer, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
		if _, err := w.Write([]byte("x")); err != nil {
			return
		}
	}
}

type memoryPressure struct{ refusing atomic.Bool }

func (p *memoryPressure) Refusing() bool          { return p.refusing.Load() }
func (p *memoryPressure) Rejecting() bool         { return false }
func (p *memoryPressure) Paused() <-chan struct{} { return nil }
func (p *memoryPressure) Memory() (int64, int64)  { return 3, 5 }

// TestRefusing: without memory new requests are answered 503, also those on connections that were there before.
func TestRefusing(t *testing.T) {
	p := &memoryPressure{}
	r, address := plain(t, Options{Pressure: p}, nil)
	conn := dial(t, address)
	h2 := newClient(t, address, "http", "h2c")
	wantAnswer(t, conn, 200, false)
	h2.want(t, "a.test", "/", "HTTP/2.0 200 v1 GET /")
	p.refusing.Store(true)
	wantAnswer(t, conn, 503, false)
	h2.want(t, "a.test", "/", "HTTP/2.0 503 envoy overloaded")
	if got := r.Overloaded(); len(got) != 1 || got[0] != "memory" {
		t.Errorf("overloaded is %q", got)
	}
	p.refusing.Store(false)
	wantAnswer(t, conn, 200, false)
	eventually(t, "both are counted", func() bool { return r.View().Listeners[0].RequestsRefused == 2 })
	if v := r.View(); v.MemoryUsed != 3 || v.MaxMemory != 5 || r.Overloaded() != nil {
		t.Errorf("got %+v", v)
	}
}
