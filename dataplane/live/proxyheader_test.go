package live

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// forwarded answers with what it is told of the client.
func forwarded(t *testing.T) config.Endpoint {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return config.Endpoint{Address: config.At(netip.MustParseAddrPort(s.Listener.Addr().String())), Weight: 1}
}

// lines is a log that any goroutine may read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func announced(l *config.Listener) { l.ProxyHeader = config.ProxyHeaderRequired }

// announcing is a Runtime whose listener wants headers, and the log it writes.
func announcing(t *testing.T, options Options, change func(*config.Listener)) (*Runtime, string, *lines) {
	t.Helper()
	log := &lines{}
	options.DrainTime, options.Logger = 5*time.Second, slog.New(slog.NewTextHandler(log, nil))
	r := newRuntimeWith(t, options)
	r.parkAfter = time.Millisecond
	apply(t, r, announcingConfig(t, change))
	return r, r.addressOf(t, "web"), log
}

func announcingConfig(t *testing.T, change func(*config.Listener)) *config.Config {
	c := makeConfig(map[string]config.Endpoint{"v1": forwarded(t)})
	c.RouteTables["web"] = table("web", "v1")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("web", "web"))
	c.Listeners["web"].Chains[0].HTTP.UseRemoteAddress = true
	announced(c.Listeners["web"])
	if change != nil {
		change(c.Listeners["web"])
	}
	return c
}

const aRequest = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"

func headerOf(client string) string { return "PROXY TCP4 " + client + " 192.0.2.1 4711 80\r\n" }

// says sends bytes, and returns the answer's status and body.
func says(t *testing.T, conn net.Conn, parts ...string) (int, string) {
	t.Helper()
	for _, part := range parts {
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

// TestProxyHeader: however the header comes, the client is whom it names, also after the connection has waited long.
func TestProxyHeader(t *testing.T) {
	r, address, _ := announcing(t, Options{}, nil)
	for name, parts := range map[string][]string{
		"at once":       {headerOf("203.0.113.7") + aRequest},
		"header first":  {headerOf("203.0.113.7"), aRequest},
		"byte by byte":  strings.Split(headerOf("203.0.113.7")+aRequest, ""),
		"cut elsewhere": {headerOf("203.0.113.7")[:10], headerOf("203.0.113.7")[10:] + aRequest[:5], aRequest[5:]},
	} {
		conn := dial(t, address)
		for range 2 {
			if status, body := says(t, conn, parts...); status != 200 || body != "203.0.113.7" {
				t.Errorf("%s: got %d %q", name, status, body)
			}
			parts = []string{aRequest}
			eventually(t, "it waits", func() bool {
				r.waiting.mu.Lock()
				defer r.waiting.mu.Unlock()
				return len(r.waiting.conns) > 0
			})
		}
		conn.Close()
	}
}

func TestBadProxyHeader(t *testing.T) {
	r, address, log := announcing(t, Options{}, nil)
	for range 3 {
		conn := dial(t, address)
		_, _ = io.WriteString(conn, aRequest)
		wantClosed(t, conn)
	}
	gone := dial(t, address)
	gone.Close()
	eventually(t, "all are counted", func() bool { return r.View().Listeners[0].HandshakeFailures == 4 })
	if n := r.View().Listeners[0].BadProxyHeaders; n != 3 {
		t.Errorf("%d bad headers are counted, want 3: who goes away without a word has none", n)
	}
	if n := log.count("no header"); n != 1 {
		t.Errorf("%d are logged, want 1 of 3 in a moment", n)
	}
}

func TestHeaderLog(t *testing.T) {
	var h headerLog
	start := time.Unix(1_700_000_000, 0)
	for _, step := range []struct {
		at   time.Duration
		want int64
	}{{0, 1}, {1, 0}, {headerLogEvery - 1, 0}, {headerLogEvery, 3}, {headerLogEvery + 1, 0}, {3 * headerLogEvery, 2}} {
		if got := h.due(start.Add(step.at)); got != step.want {
			t.Errorf("after %v: got %d, want %d", step.at, got, step.want)
		}
	}
}

// TestProxyHeaderOnTime: who says nothing is not waited for.
func TestProxyHeaderOnTime(t *testing.T) {
	r, address, log := announcing(t, Options{}, func(l *config.Listener) { l.HandshakeTimeout = 20 * time.Millisecond })
	wantClosed(t, dial(t, address))
	if v := r.View().Listeners[0]; v.HandshakeFailures != 1 || v.BadProxyHeaders != 0 || log.count("header") != 0 {
		t.Errorf("got %d failures, %d bad headers, %d lines", v.HandshakeFailures, v.BadProxyHeaders, log.count("header"))
	}
}

// TestProxyHeaderClients: clients are counted by their own addresses, not by that of the proxy that brings them all.
func TestProxyHeaderClients(t *testing.T) {
	r, address, _ := announcing(t, Options{MaxConnectionsPerClient: 1}, nil)
	first := dial(t, address)
	for i, conn := range []net.Conn{first, dial(t, address), dial(t, address)} {
		client := fmt.Sprintf("203.0.113.%d", i)
		if status, body := says(t, conn, headerOf(client)+aRequest); status != 200 || body != client {
			t.Fatalf("client %s: got %d %q", client, status, body)
		}
	}
	// One too many is told so, although its request has been read with the header.
	if status, _ := says(t, dial(t, address), headerOf("203.0.113.0")+aRequest); status != 503 {
		t.Fatalf("the second of one client: got %d, want 503", status)
	}
	if n := refusedFor(r, "client"); n != 1 {
		t.Errorf("%d were refused, want 1", n)
	}
	// Who speaks for itself is counted by its own.
	if status, _ := says(t, dial(t, address), "PROXY UNKNOWN\r\n"+aRequest); status != 200 {
		t.Fatalf("got %d", status)
	}
	if status, _ := says(t, dial(t, address), "PROXY UNKNOWN\r\n", aRequest); status != 503 {
		t.Fatalf("got %d, want 503", status)
	}
	first.Close()
	eventually(t, "the first has ended", func() bool { return r.View().Listeners[0].ConnectionsActive == 3 })
	if status, _ := says(t, dial(t, address), headerOf("203.0.113.0")+aRequest); status != 200 {
		t.Fatalf("after the first has ended: got %d", status)
	}
}

// TestProxyHeaderShed: who is refused as it comes is told so behind its header, and the listener's own limit holds.
func TestProxyHeaderShed(t *testing.T) {
	for _, test := range []struct {
		name, why string
		options   Options
		change    func(*config.Listener)
	}{
		{"in all", "connections", Options{MaxConnections: 1}, nil},
		{"of the listener", "listener", Options{}, func(l *config.Listener) { l.Chains[0].MaxConnections = 1 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, address, _ := announcing(t, test.options, test.change)
			if status, _ := says(t, dial(t, address), headerOf("203.0.113.7")+aRequest); status != 200 {
				t.Fatalf("the first: got %d", status)
			}
			if status, _ := says(t, dial(t, address), headerOf("203.0.113.7")+aRequest); status != 503 {
				t.Errorf("at once: got %d, want 503", status)
			}
			if status, _ := says(t, dial(t, address), headerOf("203.0.113.7"), aRequest); status != 503 {
				t.Errorf("header first: got %d, want 503", status)
			}
			h2 := dial(t, address)
			_, _ = io.WriteString(h2, headerOf("203.0.113.7")+"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
			wantClosed(t, h2)
			if n := refusedFor(r, test.why); n != 3 {
				t.Errorf("%d were refused, want 3", n)
			}
		})
	}
}

// TestOwnConnections: what was connected for a client's connection ends with it.
func TestOwnConnections(t *testing.T) {
	r, address, _ := announcing(t, Options{}, nil)
	c := announcingConfig(t, nil)
	c.Clusters["v1"].SendProxyHeader = 1
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.Clusters["v1"].Static[0].Address = config.At(netip.MustParseAddrPort(l.Addr().String()))
	apply(t, r, c)
	saw := make(chan string)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		header, _ := in.ReadString('\n')
		if _, err := http.ReadRequest(in); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		saw <- header
		rest, _ := io.ReadAll(in)
		saw <- string(rest)
	}()
	conn := dial(t, address)
	if status, _ := says(t, conn, headerOf("203.0.113.7")+aRequest); status != 200 {
		t.Errorf("got %d", status)
	}
	if got := <-saw; got != headerOf("203.0.113.7") {
		t.Errorf("got %q", got)
	}
	conn.Close()
	select {
	case rest := <-saw:
		if rest != "" {
			t.Errorf("then got %q", rest)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream's connection is open still")
	}
}

// TestProxyHeaderChanges: connections that were believed are not, any more, when headers are not taken any more.
func TestProxyHeaderChanges(t *testing.T) {
	r, address, _ := announcing(t, Options{}, nil)
	conn := dial(t, address)
	says(t, conn, headerOf("203.0.113.7")+aRequest)
	apply(t, r, announcingConfig(t, func(l *config.Listener) { l.ProxyHeader = config.ProxyHeaderNone }))
	wantClosed(t, conn)
	if status, body := says(t, dial(t, address), aRequest); status != 200 || strings.Contains(body, "203.0.113.7") {
		t.Errorf("got %d %q", status, body)
	}
}

// TestProxyHeaderLog: an access log has the header's addresses, and who has connected.
func TestProxyHeaderLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	logs := []*config.AccessLog{{Path: path, Format: config.Format{
		{Name: "DOWNSTREAM_REMOTE_ADDRESS"}, {Literal: " "}, {Name: "DOWNSTREAM_LOCAL_ADDRESS"}, {Literal: " "},
		{Name: "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT"}, {Literal: "\n"},
	}}}
	r, address, _ := announcing(t, Options{}, func(l *config.Listener) { l.Chains[0].HTTP.AccessLogs = logs })
	tcp := announcingConfig(t, func(l *config.Listener) {
		l.Chains[0].HTTP, l.Chains[0].TCP = nil, &config.TCP{Clusters: []config.WeightedCluster{{Name: "v1", Weight: 1}}, MaxConnectAttempts: 1, AccessLogs: logs}
	})
	for i, next := range []*config.Config{nil, tcp} {
		if next != nil {
			apply(t, r, next)
		}
		conn := dial(t, address)
		says(t, conn, headerOf("203.0.113.7")+aRequest)
		conn.Close()
		eventually(t, "the line is there", func() bool {
			text, _ := os.ReadFile(path)
			return strings.Count(string(text), "203.0.113.7:4711 192.0.2.1:80 127.0.0.1\n") == i+1
		})
	}
}
