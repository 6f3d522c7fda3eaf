package upstream

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
)

// door is an endpoint whose connections answer no handshake before it opens; then they are served.
func door(t *testing.T, serve func(net.Conn)) (endpoint config.Endpoint, open func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	opens := make(chan struct{})
	open = sync.OnceFunc(func() { close(opens) })
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				<-opens
				serve(c)
			})
		}
	})
	t.Cleanup(func() { open(); l.Close(); served.Wait() })
	return config.Endpoint{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}, open
}

// A crowd comes to an endpoint that has no connection yet: no more are made than there may be, and if they cannot be made
// nobody waits for a second try.
func TestCrowdAtAClosedDoor(t *testing.T) {
	const size = 40
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			endpoint, open := door(t, func(net.Conn) {})
			cfg := withTLS()
			cfg.HTTP2, cfg.MaxConnections = http2, 2
			client := NewClient(cluster.New(cfg, []config.Endpoint{endpoint}, nil), nil)
			defer client.Close()
			_, trust := selfSigned(t, "a.test")
			client.SetTLS(true, nil, trust)
			stats := client.Cluster.Stats
			results := make(chan error, size)
			for range size {
				go func() {
					_, err := client.Dial(context.Background(), client.Cluster.Endpoints[0], &Origin{})
					results <- err
				}()
			}
			for client.pending.Load() < size || stats.ConnectionsTotal.Load() == 0 {
				runtime.Gosched()
			}
			open()
			for range size {
				var why *failure.Error
				if err := <-results; !errors.As(err, &why) || why.Kind != failure.ConnectFailed {
					t.Errorf("got %v, want that nobody could connect", err)
				}
			}
			// Whoever came when it was open already may have knocked again.
			if n := stats.ConnectionsTotal.Load(); n > size/2 {
				t.Errorf("%d connections were begun, want a few", n)
			}
			if n, waiting := stats.ConnectionsActive.Load(), client.pending.Load(); n != 0 || waiting != 0 {
				t.Errorf("%d connections and %d who wait are still counted", n, waiting)
			}
		})
	}
}

// As many connections are made at once as there may be, and no more: who comes meanwhile waits for one of them.
func TestCrowdOfColdStart(t *testing.T) {
	const size, most = 20, 2
	endpoint, open := door(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })
	cfg := settings()
	cfg.MaxConnections = most
	// A connection takes as long to make as the door is closed.
	cfg.TLS = withTLS().TLS
	client := NewClient(cluster.New(cfg, []config.Endpoint{endpoint}, nil), nil)
	defer client.Close()
	_, trust := selfSigned(t, "a.test")
	client.SetTLS(true, nil, trust)
	ctx, cancel := context.WithCancel(context.Background())
	var crowd sync.WaitGroup
	for range size {
		crowd.Go(func() { _, _ = client.Dial(ctx, client.Cluster.Endpoints[0], &Origin{}) })
	}
	p := client.pools[client.Cluster.Endpoints[0]]
	for waiting := 0; waiting < size-most; runtime.Gosched() {
		p.mu.Lock()
		waiting = len(p.waiters)
		p.mu.Unlock()
		if n := client.Cluster.Stats.ConnectionsTotal.Load(); n > most {
			t.Errorf("%d connections are being made, want %d at most", n, most)
			break
		}
	}
	cancel()
	crowd.Wait()
	open()
	if p.count != 0 || p.made != 0 || len(p.waiters) != 0 || client.Cluster.Stats.ConnectionsActive.Load() != 0 {
		t.Errorf("%d connections, %d of them made, and %d who wait are still counted", p.count, p.made, len(p.waiters))
	}
}
