package live

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// switching is an origin that switches to any protocol, and sends back what comes.
func switching(t *testing.T) config.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				r := bufio.NewReader(c)
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+req.Header.Get("Upgrade")+"\r\n\r\n")
				_, _ = io.Copy(c, r)
			})
		}
	})
	// The proxy's connections have ended by then: clean-ups go backwards, and each test drains.
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return config.Endpoint{Address: config.At(netip.MustParseAddrPort(l.Addr().String())), Weight: 1}
}

// webSocket is the client's side of one.
type webSocket struct {
	io.Reader
	io.Writer
	close func()
}

func (w *webSocket) echo(t *testing.T, text string) {
	t.Helper()
	got := make([]byte, len(text))
	_, err := io.WriteString(w, text)
	if err == nil {
		_, err = io.ReadFull(w, got)
	}
	if err != nil || string(got) != text {
		t.Fatalf("got %q and error %v, want %q", got, err, text)
	}
}

func openWebSocket(t *testing.T, address, protocol string) *webSocket {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if protocol == "http/1.1" {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, nil)
		if err != nil || res.StatusCode != 101 {
			t.Fatalf("got %v and error %v, want 101", res, err)
		}
		return &webSocket{r, conn, func() { conn.Close() }}
	}
	//lint:ignore SA1019 net/http's transport refuses the field :protocol
	client, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	body, up := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	res, err := client.RoundTrip((&http.Request{
		Method: "CONNECT", Host: "x", URL: &url.URL{Scheme: "http", Host: "x", Path: "/"}, Body: body, ContentLength: -1,
		Header: http.Header{":protocol": {"websocket"}},
	}).WithContext(ctx))
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("got %v and error %v, want 200", res, err)
	}
	return &webSocket{res.Body, up, func() { cancel(); res.Body.Close() }}
}

func upgrading(t *testing.T) (*Runtime, string) {
	t.Helper()
	return upgradingTo(t, switching(t), false)
}

func upgradingTo(t *testing.T, at config.Endpoint, http2 bool) (*Runtime, string) {
	t.Helper()
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"a": at})
	c.Clusters["a"].HTTP2 = http2
	c.RouteTables["rt"] = table("rt", "a")
	chain := httpChain("plain", "rt")
	chain.HTTP.AllowConnect = true
	chain.HTTP.Upgrades = []config.Upgrade{{Protocol: "websocket", Enabled: true}}
	c.Listeners["web"] = on("web", "127.0.0.1:0", chain)
	apply(t, r, c)
	return r, r.addressOf(t, "web")
}

// What was switched lives on when its listener goes, until the drain time ends.
func TestUpgradeDrains(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			r, address := upgrading(t)
			w := openWebSocket(t, address, protocol)
			w.echo(t, "before")
			apply(t, r, makeConfig(nil))
			for begin := time.Now(); time.Since(begin) < 5*r.idleGrace; {
				w.echo(t, "while it drains")
			}
			ctx, cancel := context.WithTimeout(t.Context(), r.idleGrace)
			defer cancel()
			r.Drain(ctx)
			if n, err := w.Read(make([]byte, 1)); err == nil {
				t.Errorf("got %d bytes, want the end", n)
			}
		})
	}
}

// A client that goes in mid-stream leaves nothing behind.
func TestUpgradeAborts(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			r, address := upgrading(t)
			abortMany(t, address, protocol)
			for r.View().Listeners[0].UpgradesActive > 0 {
				time.Sleep(time.Millisecond)
			}
			if n := r.View().Listeners[0].UpgradesTotal; n != 20 {
				t.Errorf("%d upgrades are counted, want 20", n)
			}
		})
	}
}

// abortMany opens 20 and leaves them in mid-stream.
func abortMany(t *testing.T, address, protocol string) {
	t.Helper()
	for range 20 {
		w := openWebSocket(t, address, protocol)
		w.echo(t, "x")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			// Nobody reads what comes back: the windows fill up.
			for block := make([]byte, 64<<10); ; {
				if _, err := io.Copy(w, bytes.NewReader(block)); err != nil {
					return
				}
			}
		}()
		w.echoed(t, 100<<10)
		w.close()
		<-sent
	}
}

// To an HTTP/2 upstream many share a connection: those that are left in mid-stream leave nothing behind, and it goes on.
func TestUpgradeOverHTTP2Upstream(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			far, farAddress := upgrading(t)
			near, address := upgradingTo(t, config.Endpoint{Address: config.At(netip.MustParseAddrPort(farAddress)), Weight: 1}, true)
			steady := openWebSocket(t, address, protocol)
			abortMany(t, address, protocol)
			steady.echo(t, "still here")
			steady.close()
			for _, r := range []*Runtime{near, far} {
				for r.View().Listeners[0].UpgradesActive > 0 {
					time.Sleep(time.Millisecond)
				}
				if n := r.View().Listeners[0].UpgradesTotal; n != 21 {
					t.Errorf("%d upgrades are counted, want 21", n)
				}
			}
			if n := near.View().Clusters[0].Stats.ConnectionsTotal.Load(); n != 1 {
				t.Errorf("%d upstream connections were made, want 1", n)
			}
		})
	}
}

// echoed reads n bytes.
func (w *webSocket) echoed(t *testing.T, n int64) {
	t.Helper()
	if _, err := io.CopyN(io.Discard, w, n); err != nil {
		t.Fatal(err)
	}
}
