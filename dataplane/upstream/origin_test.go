package upstream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// told answers with nothing, and tells of each request the header of its connection; ended, of each connection's end.
func told(t *testing.T) (address netip.AddrPort, requests, ended chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests, ended = make(chan string, 100), make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				header, _ := r.ReadString('\n')
				for {
					line, err := r.ReadString('\n')
					if err != nil {
						ended <- header
						return
					}
					if line == "\r\n" {
						requests <- header
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					}
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), requests, ended
}

func announced(version int) *config.Cluster {
	c := settings()
	c.SendProxyHeader = version
	return c
}

func clientAt(address string) *Origin {
	return &Origin{Header: proxyprotocol.Header{Source: netip.MustParseAddrPort(address), Destination: netip.MustParseAddrPort("192.0.2.1:80")}}
}

func exchangeFor(t *testing.T, client *Client, from *Origin) {
	t.Helper()
	e := client.Cluster.Endpoints[0]
	up := client.Take(e, from)
	if up == nil {
		var err error
		if up, err = client.Dial(context.Background(), e, from); err != nil {
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

const (
	first  = "PROXY TCP4 203.0.113.1 192.0.2.1 1 80\r\n"
	second = "PROXY TCP4 203.0.113.2 192.0.2.1 1 80\r\n"
)

// TestOrigins: a connection serves the client's that it was made for, and ends with it.
func TestOrigins(t *testing.T) {
	address, requests, ended := told(t)
	client := NewClient(cluster.New(announced(1), []config.Endpoint{{Address: config.At(address), Weight: 1}}, nil), nil)
	defer client.Close()
	one, two := clientAt("203.0.113.1:1"), clientAt("203.0.113.2:1")
	for range 3 {
		for _, o := range []struct {
			*Origin
			want string
		}{{one, first}, {two, second}} {
			exchangeFor(t, client, o.Origin)
			if got := <-requests; got != o.want {
				t.Fatalf("a request of %v came by the connection of %q", o.Header.Source, got)
			}
		}
	}
	stats := client.Cluster.Stats
	if n := stats.ConnectionsTotal.Load(); n != 2 {
		t.Errorf("%d connections were made, want 2: each is used again", n)
	}
	one.Close()
	if got := <-ended; got != first {
		t.Errorf("the connection of %q ended, want the first's", got)
	}
	// Late, as a stream that outlives its connection may be: it is served, and nothing stays.
	exchangeFor(t, client, one)
	if got := <-requests; got != first {
		t.Errorf("got %q", got)
	}
	<-ended
	exchangeFor(t, client, two)
	<-requests
	two.Close()
	<-ended
	if n := stats.ConnectionsActive.Load(); n != 0 {
		t.Errorf("%d connections are still counted", n)
	}
	for _, p := range client.pools {
		if len(p.adopted) != 0 {
			t.Errorf("%d pools of clients are remembered", len(p.adopted))
		}
	}
}

// TestOriginsOutliveVersions: a new version of a cluster goes on with a client's connections, unless the endpoint is gone
// or the header is another.
func TestOriginsOutliveVersions(t *testing.T) {
	address, requests, ended := told(t)
	endpoints := []config.Endpoint{{Address: config.At(address), Weight: 1}}
	versions := []*Client{NewClient(cluster.New(announced(1), endpoints, nil), nil)}
	last := func() *Client { return versions[len(versions)-1] }
	become := func(cfg *config.Cluster, endpoints []config.Endpoint) {
		old := last()
		versions = append(versions, NewClient(cluster.New(cfg, endpoints, old.Cluster), old))
		old.Close()
	}
	one := clientAt("203.0.113.1:1")
	exchangeFor(t, last(), one)
	<-requests
	become(announced(1), endpoints)
	exchangeFor(t, last(), one)
	<-requests
	if n := last().Cluster.Stats.ConnectionsTotal.Load(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
	become(settings(), endpoints)
	<-ended
	become(announced(1), endpoints)
	exchangeFor(t, last(), one)
	if got := <-requests; got != first {
		t.Errorf("got %q", got)
	}
	become(announced(1), nil)
	<-ended
	if len(one.pools) != 1 {
		t.Errorf("%d pools are remembered, want 1: those that drain are forgotten when the next is made", len(one.pools))
	}
	one.Close()
	last().Close()
}

// TestOriginsOfHTTP2: streams of two clients never share a connection.
func TestOriginsOfHTTP2(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, proxyprotocol.MaxLength)
				n, _ := io.ReadAtLeast(c, buf, 28)
				h, _, _ := proxyprotocol.Parse(buf[:n])
				accepted <- h.Source.String()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	cfg := announced(2)
	cfg.HTTP2 = true
	client := NewClient(cluster.New(cfg, []config.Endpoint{{Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}}, nil), nil)
	defer client.Close()
	e := client.Cluster.Endpoints[0]
	one, two := clientAt("203.0.113.1:1"), clientAt("203.0.113.2:1")
	for _, o := range []*Origin{one, two} {
		if client.Take(e, o) != nil {
			t.Fatal("a client has a connection before one was made for it")
		}
		x, err := client.Dial(context.Background(), e, o)
		if err != nil {
			t.Fatal(err)
		}
		if got := <-accepted; got != o.Header.Source.String() {
			t.Errorf("got a connection of %s, want one of %s", got, o.Header.Source)
		}
		again := client.Take(e, o)
		if again == nil {
			t.Fatal("a client's second stream has no room on its connection")
		}
		again.Close(false)
		x.Close(false)
	}
	one.Close()
	two.Close()
	if n := client.Cluster.Stats.ConnectionsTotal.Load(); n != 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
}

// TestDialTCPTells: a TCP connection begins with its client's header.
func TestDialTCPTells(t *testing.T) {
	address, _, ended := told(t)
	client := NewClient(cluster.New(announced(1), []config.Endpoint{{Address: config.At(address), Weight: 1}}, nil), nil)
	defer client.Close()
	conn, _, err := client.DialTCP(context.Background(), clientAt("203.0.113.1:1").Header)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got := <-ended; got != first {
		t.Errorf("got %q", got)
	}
}
