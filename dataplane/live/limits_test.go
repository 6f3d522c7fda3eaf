package live

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// plain is a Runtime with one plaintext HTTP listener "web", served by one origin. Its connections park soon.
func plain(t *testing.T, options Options, change func(*config.Listener)) (*Runtime, string) {
	t.Helper()
	options.DrainTime, options.Logger = cmp.Or(options.DrainTime, 5*time.Second), slog.New(slog.DiscardHandler)
	r := newRuntimeWith(t, options)
	r.parkAfter = time.Millisecond
	c := makeConfig(map[string]config.Endpoint{"v1": origin(t, "v1")})
	c.RouteTables["web"] = table("web", "v1")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("web", "web"))
	if change != nil {
		change(c.Listeners["web"])
	}
	apply(t, r, c)
	return r, r.addressOf(t, "web")
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// ask sends a request, and returns its answer's status and whether the connection is told to end.
func ask(t *testing.T, conn net.Conn) (status int, closes bool) {
	t.Helper()
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode, res.Close
}

func wantAnswer(t *testing.T, conn net.Conn, status int, closes bool) {
	t.Helper()
	if got, gotCloses := ask(t, conn); got != status || gotCloses != closes {
		t.Fatalf("got %d, closes: %v, want %d, %v", got, gotCloses, status, closes)
	}
}

// wantClosed reads to the end, which must come without a word.
func wantClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(conn); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %q, %v, want the connection closed", b, err)
	}
}

// eventually waits for something that another goroutine does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20s: " + what)
		}
	}
}

func refusedFor(r *Runtime, why string) int64 { return r.View().Listeners[0].Refused[why] }

func TestConnectionLimit(t *testing.T) {
	r, address := plain(t, Options{MaxConnections: 1}, nil)
	first := dial(t, address)
	wantAnswer(t, first, 200, false)
	if got := r.Overloaded(); len(got) != 1 || got[0] != "connections" {
		t.Errorf("at the limit: overloaded is %q", got)
	}
	// The newest is told; who was there before goes on.
	wantAnswer(t, dial(t, address), 503, true)
	wantAnswer(t, first, 200, false)
	// By HTTP/2 there is nothing to be said, nor to who asks nothing.
	h2 := dial(t, address)
	_, _ = h2.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	wantClosed(t, h2)
	wantClosed(t, dial(t, address))
	if n := refusedFor(r, "connections"); n != 3 {
		t.Errorf("%d were refused, want 3", n)
	}
	first.Close()
	eventually(t, "the first has ended", func() bool { return r.View().Connections == 0 })
	if got := r.Overloaded(); got != nil {
		t.Errorf("below the limit: overloaded is %q", got)
	}
	wantAnswer(t, dial(t, address), 200, false)
}

// TestApologyToAnUpload: a client that goes on sending is not reset before it has read the answer.
func TestApologyToAnUpload(t *testing.T) {
	_, address := plain(t, Options{MaxConnections: 1}, nil)
	wantAnswer(t, dial(t, address), 200, false)
	conn := dial(t, address)
	_, _ = conn.Write([]byte("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 32768\r\n\r\n"))
	if b, err := io.ReadAll(conn); err != nil || !bytes.Equal(b, apology) {
		t.Fatalf("got %q, %v", b, err)
	}
	for range 32 {
		if _, err := conn.Write(bytes.Repeat([]byte("x"), 1024)); err != nil {
			t.Fatalf("while it still sends: %v", err)
		}
	}
}

// TestApologiesAreBounded: a flood of refused connections does not hold descriptors.
func TestApologiesAreBounded(t *testing.T) {
	r, address := plain(t, Options{MaxConnections: 1}, nil)
	wantAnswer(t, dial(t, address), 200, false)
	r.apologies.Store(maxApologies)
	conn := dial(t, address)
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"))
	wantClosed(t, conn)
	if n := r.apologies.Load(); n != maxApologies {
		t.Errorf("%d apologies are counted, want %d", n, maxApologies)
	}
	r.apologies.Store(0)
	wantAnswer(t, dial(t, address), 503, true)
	eventually(t, "the apology has ended", func() bool { return r.apologies.Load() == 0 })
}

func TestListenerLimit(t *testing.T) {
	limit := func(n uint64) func(l *config.Listener) {
		return func(l *config.Listener) { l.Chains[0].MaxConnections = n }
	}
	r, address := plain(t, Options{}, limit(2))
	first, second := dial(t, address), dial(t, address)
	wantAnswer(t, first, 200, false)
	wantAnswer(t, second, 200, false)
	wantAnswer(t, dial(t, address), 503, true)
	if n := refusedFor(r, "listener"); n != 1 {
		t.Errorf("%d were refused, want 1", n)
	}
	if got := r.Overloaded(); got != nil {
		t.Errorf("one listener's limit: overloaded is %q", got)
	}
	// A new limit drains nobody, and counts those who are there.
	c := makeConfig(map[string]config.Endpoint{"v1": origin(t, "v1")})
	c.RouteTables["web"] = table("web", "v1")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("web", "web"))
	limit(3)(c.Listeners["web"])
	apply(t, r, c)
	third := dial(t, address)
	wantAnswer(t, third, 200, false)
	wantAnswer(t, first, 200, false)
	wantAnswer(t, dial(t, address), 503, true)
	second.Close()
	eventually(t, "the second has ended", func() bool { return r.View().Listeners[0].ConnectionsActive == 2 })
	wantAnswer(t, dial(t, address), 200, false)
}

// TestListenerLimitTLS: a connection too many is closed before its handshake.
func TestListenerLimitTLS(t *testing.T) {
	r, _ := plain(t, Options{}, nil)
	c := makeConfig(map[string]config.Endpoint{"v1": origin(t, "v1")})
	c.RouteTables["web"] = table("web", "v1")
	chain := httpChain("a", "web", "a.test")
	chain.MaxConnections = 1
	c.Listeners["tls"] = on("tls", "127.0.0.1:0", chain)
	c.Certificates["a"] = selfSigned(t, "a", "a.test")
	apply(t, r, c)
	address := r.addressOf(t, "tls")
	handshake := func() (*tls.Conn, error) {
		conn := tls.Client(dial(t, address), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		return conn, conn.Handshake()
	}
	first, err := handshake()
	if err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, first, 200, false)
	if _, err := handshake(); err == nil {
		t.Fatal("a second handshake went through")
	}
	wantAnswer(t, first, 200, false)
}

func TestClientLimit(t *testing.T) {
	r, address := plain(t, Options{MaxConnectionsPerClient: 1}, nil)
	wantAnswer(t, dial(t, address), 200, false)
	wantAnswer(t, dial(t, address), 503, true)
	if n := refusedFor(r, "client"); n != 1 {
		t.Errorf("%d were refused, want 1", n)
	}
}

func TestRequestsPerConnection(t *testing.T) {
	_, address := plain(t, Options{}, func(l *config.Listener) { l.Chains[0].HTTP.MaxRequests = 2 })
	conn := dial(t, address)
	wantAnswer(t, conn, 200, false)
	wantAnswer(t, conn, 200, true)
	wantClosed(t, conn)

	h2 := newClient(t, address, "http", "h2c")
	for range 5 {
		h2.want(t, "a.test", "/", "HTTP/2.0 200 v1 GET /")
	}
}

// parks waits until n connections wait without a goroutine.
func parks(t *testing.T, r *Runtime, n int) {
	t.Helper()
	eventually(t, "connections are parked", func() bool {
		r.waiting.mu.Lock()
		defer r.waiting.mu.Unlock()
		return len(r.waiting.conns) == n
	})
}

// TestParked: a connection that waits long for its next request is served like any other.
func TestParked(t *testing.T) {
	r, address := plain(t, Options{}, nil)
	conn := dial(t, address)
	for range 3 {
		wantAnswer(t, conn, 200, false)
		parks(t, r, 1)
	}
	if total := r.total(t, "web"); total != 1 {
		t.Errorf("%d connections were accepted, want 1", total)
	}
	// Half a head, and the rest of it later.
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n"))
	parks(t, r, 0)
	if _, err := conn.Write([]byte("Host: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	for range 2 {
		res, err := http.ReadResponse(reader, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
	}
	parks(t, r, 1)
	conn.Close()
	eventually(t, "it has ended", func() bool { return r.View().Connections == 0 })
}

func TestParkedTLS(t *testing.T) {
	r, _ := plain(t, Options{}, nil)
	c := makeConfig(map[string]config.Endpoint{"v1": origin(t, "v1")})
	c.RouteTables["web"] = table("web", "v1")
	c.Listeners["tls"] = on("tls", "127.0.0.1:0", httpChain("a", "web", "a.test"))
	c.Certificates["a"] = selfSigned(t, "a", "a.test")
	apply(t, r, c)
	conn := tls.Client(dial(t, r.addressOf(t, "tls")), &tls.Config{ServerName: "a.test", InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	for range 3 {
		wantAnswer(t, conn, 200, false)
		parks(t, r, 1)
	}
}

// TestParkedTimesOut: the idle timeout counts from the last answer, parked or not.
func TestParkedTimesOut(t *testing.T) {
	r, address := plain(t, Options{}, func(l *config.Listener) { l.Chains[0].HTTP.IdleTimeout = 50 * time.Millisecond })
	conn := dial(t, address)
	wantAnswer(t, conn, 200, false)
	wantClosed(t, conn)
	silent := dial(t, address)
	wantClosed(t, silent)
	eventually(t, "both have ended", func() bool { return r.View().Connections == 0 })
}

// TestParkedDrains: who waits is told to end when its listener goes.
func TestParkedDrains(t *testing.T) {
	r, address := plain(t, Options{DrainTime: time.Hour}, nil)
	conn := dial(t, address)
	wantAnswer(t, conn, 200, false)
	parks(t, r, 1)
	apply(t, r, makeConfig(nil))
	wantClosed(t, conn)
}

// TestParkedAges: a connection that is too old when its next request comes serves that one, and ends.
func TestParkedAges(t *testing.T) {
	r, address := plain(t, Options{}, func(l *config.Listener) { l.Chains[0].HTTP.MaxConnectionDuration = 100 * time.Millisecond })
	conn := dial(t, address)
	opened := time.Now()
	wantAnswer(t, conn, 200, false)
	parks(t, r, 1)
	eventually(t, "it is old", func() bool { return time.Since(opened) > 150*time.Millisecond })
	wantAnswer(t, conn, 200, true)
	wantClosed(t, conn)
}
