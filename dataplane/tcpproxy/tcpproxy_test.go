package tcpproxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/accesslog"
	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dialer connects to one address, after some failures.
type dialer struct {
	address string
	fail    []error
}

func (d *dialer) DialTCP(context.Context, proxyprotocol.Header) (net.Conn, *cluster.Endpoint, error) {
	endpoint := &cluster.Endpoint{Address: config.At(netip.MustParseAddrPort(d.address)), Load: &cluster.Load{}}
	if len(d.fail) > 0 {
		err := d.fail[0]
		d.fail = d.fail[1:]
		return nil, endpoint, err
	}
	c, err := net.Dial("tcp", d.address)
	if err != nil {
		return nil, endpoint, err
	}
	return counted{c.(*net.TCPConn)}, endpoint, nil
}

// counted embeds a TCP connection, as upstream's does.
type counted struct{ *net.TCPConn }

// hidden is a connection that cannot be spliced, nor half-closed by itself.
type hidden struct{ net.Conn }

func (h hidden) CloseWrite() error { return h.Conn.(*net.TCPConn).CloseWrite() }

func pair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

type fixture struct {
	client *net.TCPConn
	server *net.TCPConn
	stats  *Stats
	ended  chan struct{}
	log    string
	logger *accesslog.Logger
}

// start runs a proxy between a client and a server that has accepted.
func start(t *testing.T, cfg *config.TCP, wrap func(net.Conn) net.Conn, d *dialer) *fixture {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if d.address == "" {
		d.address = l.Addr().String()
	}
	f := &fixture{stats: &Stats{}, ended: make(chan struct{}), log: filepath.Join(t.TempDir(), "log")}
	f.logger, err = accesslog.New(&config.AccessLog{Path: f.log, JSON: map[string]config.Format{
		"in": {{Name: "BYTES_RECEIVED"}}, "out": {{Name: "BYTES_SENT"}}, "flags": {{Name: "RESPONSE_FLAGS"}}, "cluster": {{Name: "UPSTREAM_CLUSTER"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Clusters = []config.WeightedCluster{{Name: "db", Weight: 1}}
	if cfg.MaxConnectAttempts == 0 {
		cfg.MaxConnectAttempts = 1
	}
	counters := &cluster.Stats{}
	p := New(Options{Config: cfg, Stats: f.stats, Logs: []*accesslog.Logger{f.logger},
		Cluster: func(name string) (Dialer, *cluster.Stats, bool) {
			return d, counters, name == "db" && d.address != "none"
		}})
	near, far := pair(t)
	f.client = near
	_ = near.SetDeadline(time.Now().Add(10 * time.Second))
	down, connects := wrap(far), len(d.fail) < int(cfg.MaxConnectAttempts)
	go func() {
		defer close(f.ended)
		p.Serve(t.Context(), down, &Conn{})
	}()
	if d.address == l.Addr().String() && connects {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		f.server = c.(*net.TCPConn)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	}
	return f
}

// record is the access log's only line, after the connection has ended.
func (f *fixture) record(t *testing.T) map[string]any {
	t.Helper()
	<-f.ended
	f.logger.Close()
	data, err := os.ReadFile(f.log)
	if err != nil {
		t.Fatal(err)
	}
	var r map[string]any
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	return r
}

func same(c net.Conn) net.Conn { return c }
func hide(c net.Conn) net.Conn { return hidden{c} }

// TestHalfClose: each side ends its half by itself, and what comes the other way still arrives.
func TestHalfClose(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
	for name, wrap := range map[string]func(net.Conn) net.Conn{"spliced": same, "copied": hide} {
		t.Run(name, func(t *testing.T) {
			f := start(t, &config.TCP{}, wrap, &dialer{})
			go func() {
				_, _ = f.client.Write(big)
				_ = f.client.CloseWrite()
			}()
			got, err := io.ReadAll(f.server)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(big) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if _, err := f.server.Write([]byte("answer")); err != nil {
				t.Fatal(err)
			}
			f.server.Close()
			if got, err := io.ReadAll(f.client); err != nil || string(got) != "answer" {
				t.Fatal(string(got), err)
			}
			r := f.record(t)
			if r["in"] != float64(len(big)) || r["out"] != 6.0 || r["cluster"] != "db" || r["flags"] != "-" {
				t.Error(r)
			}
			if f.stats.ConnectionsActive.Load() != 0 || f.stats.BytesReceived.Load() != int64(len(big)) {
				t.Error(f.stats)
			}
		})
	}
}

func TestIdle(t *testing.T) {
	const idle = 500 * time.Millisecond
	for name, wrap := range map[string]func(net.Conn) net.Conn{"spliced": same, "copied": hide} {
		t.Run(name, func(t *testing.T) {
			f := start(t, &config.TCP{IdleTimeout: idle}, wrap, &dialer{})
			begin := time.Now()
			// One way alone keeps it open, longer than the timeout.
			for time.Since(begin) < 3*idle {
				if _, err := f.server.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if _, err := f.client.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			quiet := time.Now()
			if _, err := f.client.Read(make([]byte, 1)); err != io.EOF {
				t.Fatal(err)
			}
			if after := time.Since(quiet); after < idle/2 {
				t.Errorf("closed after %v of silence", after)
			}
			f.record(t)
			if f.stats.Idle.Load() != 1 {
				t.Error("not counted")
			}
		})
	}
}

// TestIdleWhileStuck: a peer that does not read is silence too.
func TestIdleWhileStuck(t *testing.T) {
	f := start(t, &config.TCP{IdleTimeout: 100 * time.Millisecond}, same, &dialer{})
	_ = f.client.CloseWrite()
	for {
		if _, err := f.server.Write(make([]byte, 1<<20)); err != nil {
			break
		}
	}
	f.record(t)
}

func TestConnect(t *testing.T) {
	refused := failure.New(failure.ConnectFailed, errors.New("refused"))
	for _, test := range []struct {
		name     string
		attempts uint32
		dialer   *dialer
		flag     string
	}{
		{"second attempt", 2, &dialer{fail: []error{refused}}, "-"},
		{"no attempt left", 2, &dialer{fail: []error{refused, refused}}, "UF"},
		{"no endpoint", 5, &dialer{fail: []error{failure.New(failure.NoEndpoint, nil)}}, "UH"},
		{"overflow", 5, &dialer{fail: []error{failure.New(failure.Overflow, nil)}}, "UO"},
		{"no cluster", 5, &dialer{address: "none"}, "NC"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.flag == "UH" || test.flag == "UO" {
				test.dialer.address = "127.0.0.1:1"
			}
			f := start(t, &config.TCP{MaxConnectAttempts: test.attempts}, same, test.dialer)
			if f.server != nil {
				f.server.Close()
			}
			if got, err := io.ReadAll(f.client); len(got) > 0 || err != nil {
				t.Fatal(got, err)
			}
			f.client.Close()
			if r := f.record(t); r["flags"] != test.flag {
				t.Error(r)
			}
		})
	}
}

type ahead struct {
	*net.TCPConn
	bytes []byte
}

func (a *ahead) Detach() ([]byte, net.Conn) { return a.bytes, a.TCPConn }
func (a *ahead) NetConn() net.Conn          { return a.TCPConn }

func TestReadAhead(t *testing.T) {
	f := start(t, &config.TCP{}, func(c net.Conn) net.Conn { return &ahead{c.(*net.TCPConn), []byte("first ")} }, &dialer{})
	_, _ = f.client.Write([]byte("second"))
	_ = f.client.CloseWrite()
	if got, err := io.ReadAll(f.server); string(got) != "first second" {
		t.Fatal(string(got), err)
	}
	_, _ = f.server.Write([]byte("answer"))
	f.server.Close()
	if got, err := io.ReadAll(f.client); string(got) != "answer" {
		t.Fatal(string(got), err)
	}
	<-f.ended
	f.logger.Close()
}

// TestManyBytesAndFew: ways that are spliced go back to copying and on again; each byte comes once, in order, and all are
// counted.
func TestManyBytesAndFew(t *testing.T) {
	f := start(t, &config.TCP{IdleTimeout: 10 * time.Second}, same, &dialer{})
	big := make([]byte, 1<<20)
	for i := range big {
		big[i] = byte(i * i >> 3)
	}
	total := 0
	for _, size := range []int{1, len(big), 5, bufferSize, 5 * bufferSize, 1, len(big) - 1, bulk * bufferSize, 3} {
		for _, way := range []struct{ from, to net.Conn }{{f.client, f.server}, {f.server, f.client}} {
			go func() { _, _ = way.from.Write(big[:size]) }()
			got := make([]byte, size)
			if _, err := io.ReadFull(way.to, got); err != nil || !bytes.Equal(got, big[:size]) {
				t.Fatalf("%d bytes: %v, or they differ", size, err)
			}
		}
		total += size
	}
	f.client.Close()
	f.server.Close()
	if r := f.record(t); r["in"] != float64(total) || r["out"] != float64(total) {
		t.Errorf("got %v, want %d bytes each way", r, total)
	}
}

// TestQuietConnectionsHoldNothing: no buffer and no pipe, however much they have moved before.
func TestQuietConnectionsHoldNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are counted in /proc")
	}
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	const count = 20
	var all []*fixture
	before := 0
	for range count {
		f := start(t, &config.TCP{}, same, &dialer{})
		go func() { _, _ = f.client.Write(make([]byte, 1<<20)) }()
		if _, err := io.CopyN(io.Discard, f.server, 1<<20); err != nil {
			t.Fatal(err)
		}
		// A reply proves that the way back is at rest, and what follows it that this one is.
		if _, err := f.client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.server.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if all = append(all, f); len(all) == 1 {
			before = descriptors()
		}
	}
	// Each has the two of the proxy, the two of the test, a log and a listening socket; a pipe would be two more. A few
	// idle pipes may have been made since, for all.
	if got, want := descriptors()-before, 7*(count-1); got > want {
		t.Errorf("%d descriptors for %d quiet connections, want %d at most", got, count-1, want)
	}
	for _, f := range all {
		f.client.Close()
		f.server.Close()
		f.record(t)
	}
}

// TestCut: closing the client's side ends the connection, as a drain's end does.
func TestCut(t *testing.T) {
	var far net.Conn
	f := start(t, &config.TCP{}, func(c net.Conn) net.Conn { far = c; return c }, &dialer{})
	far.Close()
	if got, err := io.ReadAll(f.server); len(got) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(got, err)
	}
	f.record(t)
}
