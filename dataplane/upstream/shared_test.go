package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http2"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// many is an origin of HTTP/2 that takes a number of streams on each connection. It answers 103 at once, and 200 when
// it gets leave.
type many struct {
	address netip.AddrPort
	leave   chan struct{}
	mu      sync.Mutex
	conns   []net.Conn
}

func newMany(t *testing.T, streams uint32) *many {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &many{address: l.Addr().(*net.TCPAddr).AddrPort(), leave: make(chan struct{}, 1000)}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns = append(m.conns, c)
			m.mu.Unlock()
			served.Go(func() {
				http2.ServeConn(c, http2.ServerOptions{MaxConcurrentStreams: streams}, func(s *http2.ServerStream) {
					_ = s.Respond(&message.Response{Status: 103}, false)
					<-m.leave
					_ = s.Respond(&message.Response{Status: 200}, true)
				})
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		m.cut()
		close(m.leave)
		served.Wait()
	})
	return m
}

// cut closes all connections.
func (m *many) cut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		c.Close()
	}
}

func (m *many) client(t *testing.T, change func(*config.Cluster)) (*Client, *cluster.Endpoint) {
	t.Helper()
	cfg := settings()
	cfg.HTTP2 = true
	change(cfg)
	c := NewClient(cluster.New(cfg, []config.Endpoint{{Address: config.At(m.address), Weight: 1}}, nil), nil)
	t.Cleanup(c.Close)
	return c, c.Cluster.Endpoints[0]
}

// begun is an exchange that the origin has under way.
func begun(ctx context.Context, client *Client, e *cluster.Endpoint) (Exchange, error) {
	up := client.Take(e, &Origin{})
	if up == nil {
		var err error
		if up, err = client.Dial(ctx, e, &Origin{}); err != nil {
			return nil, err
		}
	}
	req := &message.Request{Method: "GET", Scheme: "http", Authority: "a.test", Path: "/"}
	if err := up.WriteRequest(req, true); err != nil {
		return up, err
	}
	res, err := up.ReadResponse()
	if err == nil && res.Status != 103 {
		err = errors.New("not early")
	}
	return up, err
}

func finish(t *testing.T, up Exchange) {
	t.Helper()
	res, err := up.ReadResponse()
	if err != nil || res.Status != 200 {
		t.Error(res, err)
	}
	if _, err := up.Read(nil); err != io.EOF {
		t.Error(err)
	}
	up.Close(true)
}

// TestFullConnections: when the upstream allows no more streams, there is another connection.
func TestFullConnections(t *testing.T) {
	m := newMany(t, 2)
	client, e := m.client(t, func(*config.Cluster) {})
	var held []Exchange
	for i, connections := range []int64{1, 1, 2, 2, 3} {
		up, err := begun(t.Context(), client, e)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, up)
		if n := client.Cluster.Stats.ConnectionsActive.Load(); n != connections {
			t.Errorf("%d exchanges: %d connections, want %d", i+1, n, connections)
		}
	}
	// Which handler takes which is not said.
	for range held {
		m.leave <- struct{}{}
	}
	for _, up := range held {
		finish(t, up)
	}
	if up := client.Take(e, &Origin{}); up == nil {
		t.Error("no connection is there")
	} else {
		up.Close(true)
	}
}

// TestWaitForRoom: at MaxConnections an exchange waits for a stream, unless too many wait; and for as long as it likes.
func TestWaitForRoom(t *testing.T) {
	m := newMany(t, 1)
	client, e := m.client(t, func(c *config.Cluster) { c.MaxConnections, c.MaxPending = 1, 1 })
	held, err := begun(t.Context(), client, e)
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	wait := func(ctx context.Context) {
		go func() {
			up, err := begun(ctx, client, e)
			if err == nil {
				m.leave <- struct{}{}
				finish(t, up)
			}
			done <- err
		}()
		for client.pending.Load() == 0 {
			runtime.Gosched()
		}
	}
	wait(impatient)
	var why *failure.Error
	if _, err := begun(t.Context(), client, e); !errors.As(err, &why) || why.Kind != failure.Overflow {
		t.Errorf("got %v, want an overflow", err)
	}
	cancel()
	if err := <-done; !errors.As(err, &why) || why.Kind != failure.ConnectFailed {
		t.Errorf("got %v", err)
	}
	wait(t.Context())
	m.leave <- struct{}{}
	finish(t, held)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := client.Cluster.Stats.ConnectionsTotal.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	// A connection that ends makes room, too.
	if held, err = begun(t.Context(), client, e); err != nil {
		t.Fatal(err)
	}
	wait(t.Context())
	m.cut()
	// For the stream that was cut: its handler waits still.
	m.leave <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	held.Close(false)
	if n := client.pending.Load(); n != 0 {
		t.Errorf("%d are still counted as waiting", n)
	}
}

// TestCrowd: all get their turn, whatever the order.
func TestCrowd(t *testing.T) {
	m := newMany(t, 2)
	client, e := m.client(t, func(c *config.Cluster) { c.MaxConnections, c.MaxPending = 2, 1000 })
	first, err := begun(t.Context(), client, e)
	if err != nil {
		t.Fatal(err)
	}
	m.leave <- struct{}{}
	finish(t, first)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 20 {
				up, err := begun(t.Context(), client, e)
				var why *failure.Error
				if errors.As(err, &why) && why.Retryable {
					// The second connection took more than its upstream allows, before it knew.
					up.Close(false)
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				m.leave <- struct{}{}
				finish(t, up)
			}
		})
	}
	wg.Wait()
	if n := client.Cluster.Stats.ConnectionsActive.Load(); n > 2 {
		t.Errorf("%d connections, want at most 2", n)
	}
}

// TestEndedConnections: a connection that has ended leaves the pool when it ends, not when somebody comes.
func TestEndedConnections(t *testing.T) {
	m := newMany(t, 2)
	client, e := m.client(t, func(*config.Cluster) {})
	var held []Exchange
	for range 3 {
		up, err := begun(t.Context(), client, e)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, up)
	}
	pool := client.pools[e]
	if n := len(pool.list()); n != 2 {
		t.Fatalf("%d connections, want 2", n)
	}
	m.cut()
	for len(pool.list()) > 0 {
		if t.Context().Err() != nil {
			t.Fatalf("%d connections are kept", len(pool.list()))
		}
		runtime.Gosched()
	}
	for range held {
		m.leave <- struct{}{} // their handlers wait still
	}
	for _, up := range held {
		up.Close(false)
	}
}
