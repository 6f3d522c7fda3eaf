package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func settings() *config.Cluster {
	return &config.Cluster{Name: "up", ConnectTimeout: 5 * time.Second, MaxConnections: 100, MaxPending: 100, MaxRequests: 100}
}

// origin answers every read with an empty 200; ended gets a value for each connection that the client closes.
func origin(t *testing.T) (address netip.AddrPort, ended chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended = make(chan struct{}, 10)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				for {
					if _, err := c.Read(buf); err != nil {
						ended <- struct{}{}
						return
					}
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), ended
}

func exchange(t *testing.T, client *Client) {
	t.Helper()
	e := client.Cluster.Pick()
	up := client.Take(e, &Origin{})
	if up == nil {
		var err error
		if up, err = client.Dial(context.Background(), e, &Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := up.WriteRequest(&message.Request{Method: "GET", Authority: "a.test", Path: "/"}, true); err != nil {
		t.Fatal(err)
	}
	if _, err := up.ReadResponse(); err != nil {
		t.Fatal(err)
	}
	if _, err := up.Read(make([]byte, 10)); err != io.EOF {
		t.Fatalf("got %v, want the end", err)
	}
	up.Close(true)
}

// A new version of a cluster goes on with the connections of endpoints that stay; those of others are closed.
func TestPoolsOutliveVersions(t *testing.T) {
	stays, stayed := origin(t)
	goes, gone := origin(t)
	both := []config.Endpoint{{Address: config.At(stays), Weight: 1}, {Address: config.At(goes), Weight: 1}}
	first := NewClient(cluster.New(settings(), both, nil), nil)
	exchange(t, first)
	exchange(t, first)
	stats := first.Cluster.Stats
	if n := stats.ConnectionsTotal.Load(); n != 2 {
		t.Fatalf("%d connections, want 2", n)
	}
	second := NewClient(cluster.New(settings(), both[:1], first.Cluster), first)
	first.Close()
	<-gone
	exchange(t, second)
	if n := stats.ConnectionsTotal.Load(); n != 2 {
		t.Errorf("%d connections, want still 2", n)
	}
	// Who still holds the first may use it; nothing is kept open for it.
	exchange(t, first)
	exchange(t, first)
	second.Close()
	<-stayed
	if n := stats.ConnectionsActive.Load(); n != 0 {
		t.Errorf("%d connections are still counted", n)
	}
}

func TestDialTCP(t *testing.T) {
	address, ended := origin(t)
	cfg := settings()
	cfg.MaxConnections = 1
	client := NewClient(cluster.New(cfg, []config.Endpoint{{Address: config.At(address), Weight: 1}}, nil), nil)
	defer client.Close()
	conn, e, err := client.DialTCP(context.Background(), proxyprotocol.Header{})
	if err != nil {
		t.Fatal(err)
	}
	var why *failure.Error
	if _, _, err := client.DialTCP(context.Background(), proxyprotocol.Header{}); !errors.As(err, &why) || why.Kind != failure.Overflow {
		t.Errorf("got %v, want an overflow", err)
	}
	if e.Active.Load() != 1 || client.Cluster.Stats.ConnectionsActive.Load() != 1 {
		t.Error("the connection is not counted")
	}
	conn.Close()
	conn.Close()
	<-ended
	if e.Active.Load() != 0 || client.Cluster.Stats.ConnectionsActive.Load() != 0 {
		t.Error("the connection is still counted")
	}
	empty := NewClient(cluster.New(settings(), nil, nil), nil)
	defer empty.Close()
	if _, _, err := empty.DialTCP(context.Background(), proxyprotocol.Header{}); !errors.As(err, &why) || why.Kind != failure.NoEndpoint {
		t.Errorf("got %v, want no endpoint", err)
	}
}

func TestDialTimeout(t *testing.T) {
	cfg := settings()
	cfg.ConnectTimeout = time.Nanosecond
	address, _ := origin(t)
	client := NewClient(cluster.New(cfg, []config.Endpoint{{Address: config.At(address), Weight: 1}}, nil), nil)
	defer client.Close()
	var why *failure.Error
	_, err := client.Dial(context.Background(), client.Cluster.Pick(), &Origin{})
	if !errors.As(err, &why) || why.Kind != failure.ConnectTimeout {
		t.Errorf("got %v, want a timeout", err)
	}
	if n := client.Cluster.Stats.ConnectionsActive.Load(); n != 0 {
		t.Errorf("%d connections are counted", n)
	}
}
