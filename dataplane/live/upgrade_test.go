package live

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// switcher is an origin that switches, and then does as it is told with what comes.
func switcher(t *testing.T, then func(c *net.TCPConn, r *bufio.Reader)) config.Endpoint {
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
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				if _, err := io.WriteString(c, switching); err == nil {
					then(c.(*net.TCPConn), r)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return config.Endpoint{Address: l.Addr().(*net.TCPAddr).AddrPort(), Weight: 1}
}

func echoBack(c *net.TCPConn, r *bufio.Reader) { _, _ = io.Copy(c, r) }

// upgradable is a listener in plaintext and one with TLS, which allow WebSocket to an origin.
func upgradable(t *testing.T, e config.Endpoint) *config.Config {
	t.Helper()
	c := makeConfig(map[string]config.Endpoint{"ws": e})
	c.RouteTables["rt"] = table("rt", "ws")
	c.Certificates["tls"] = selfSigned(t, "tls", "shop.test")
	for name, chain := range map[string]*config.FilterChain{"http": httpChain("plain", "rt"), "https": httpChain("tls", "rt", "shop.test")} {
		chain.HTTP.Upgrades = []config.Upgrade{{Protocol: "websocket", Enabled: true}}
		c.Listeners[name] = on(name, "127.0.0.1:0", chain)
	}
	return c
}

// upgraded is a connection that has switched.
func (r *Runtime) upgraded(t *testing.T, listener string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", r.addressOf(t, listener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if listener == "https" {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "shop.test", NextProtos: []string{"http/1.1"}})
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("got %q and error %v, want a 101", line, err)
		}
		if line == "\r\n" {
			return c, in
		}
	}
}

// speak sends a message and awaits it back.
func speak(c net.Conn, in *bufio.Reader, message string) error {
	if _, err := io.WriteString(c, message); err != nil {
		return err
	}
	got := make([]byte, len(message))
	if _, err := io.ReadFull(in, got); err != nil || string(got) != message {
		return fmt.Errorf("got %q and error %v, want %q", got, err, message)
	}
	return nil
}

func (r *Runtime) upgrades() (n int64) {
	for _, l := range r.View().Listeners {
		n += l.UpgradesActive
	}
	return n
}

// TestUpgradeOutlivesItsListener: whoever has switched speaks on while the listener that it came by changes, goes, and
// drains, until the drain time ends. Neither the wake-ups of a drain nor its end of requests are for it.
func TestUpgradeOutlivesItsListener(t *testing.T) {
	for _, listener := range []string{"http", "https"} {
		t.Run(listener, func(t *testing.T) {
			r := newRuntime(t)
			r.idleGrace = time.Millisecond
			c := upgradable(t, switcher(t, echoBack))
			apply(t, r, c)
			conn, in := r.upgraded(t, listener)
			speaks := func(when string) {
				t.Helper()
				for start := time.Now(); time.Since(start) < 20*r.idleGrace; {
					if err := speak(conn, in, "hello"); err != nil {
						t.Fatalf("%s: %v", when, err)
					}
				}
			}
			speaks("at first")

			changed := upgradable(t, c.Clusters["ws"].Static[0])
			for _, l := range changed.Listeners {
				l.Chains[0].HTTP.IdleTimeout = time.Hour
			}
			apply(t, r, changed)
			speaks("the chain is another")

			apply(t, r, makeConfig(nil))
			speaks("listener and cluster are gone")

			ctx, cancel := context.WithCancel(t.Context())
			drained := make(chan struct{})
			go func() {
				defer close(drained)
				r.Drain(ctx)
			}()
			speaks("the proxy drains")
			select {
			case <-drained:
				t.Fatal("it drained while the connection was open")
			default:
			}
			cancel()
			<-drained
			if rest, _ := io.ReadAll(in); len(rest) > 0 {
				t.Errorf("got %q at the end of the drain, want the connection's end", rest)
			}
		})
	}
}

// TestUpgradeDrainTime: what was switched is cut when the drain time ends.
func TestUpgradeDrainTime(t *testing.T) {
	r := newRuntimeWith(t, Options{DrainTime: 50 * time.Millisecond})
	apply(t, r, upgradable(t, switcher(t, echoBack)))
	conn, in := r.upgraded(t, "http")
	if err := speak(conn, in, "hello"); err != nil {
		t.Fatal(err)
	}
	apply(t, r, makeConfig(nil))
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Errorf("got %q, want the end", rest)
	}
}

// TestUpgradeAborts: both sides break off wherever they like, and nothing is left: no count, no goroutine.
func TestUpgradeAborts(t *testing.T) {
	r := newRuntime(t)
	c := upgradable(t, switcher(t, func(c *net.TCPConn, in *bufio.Reader) {
		n := rand.Int64N(200_000)
		switch rand.IntN(4) {
		case 0: // sends, whatever comes, and closes
			_, _ = io.WriteString(c, strings.Repeat("x", int(n)))
		case 1: // reads some, and resets
			_, _ = io.CopyN(io.Discard, in, n)
			_ = c.SetLinger(0)
		case 2: // echoes some, and ends its half
			_, _ = io.CopyN(c, in, n)
			_ = c.CloseWrite()
			_, _ = io.Copy(io.Discard, in)
		default:
			echoBack(c, in)
		}
	}))
	apply(t, r, c)
	var clients sync.WaitGroup
	for i := range 100 {
		conn, in := r.upgraded(t, [...]string{"http", "https"}[i%2])
		clients.Go(func() {
			defer conn.Close()
			// Where both sides wait for each other, the client gives up.
			_ = conn.SetDeadline(time.Now().Add(time.Duration(rand.IntN(100)) * time.Millisecond))
			go func() { _, _ = io.CopyN(conn, endless{}, rand.Int64N(200_000)) }()
			_, _ = io.CopyN(io.Discard, in, rand.Int64N(200_000))
			if tcp, ok := conn.(*net.TCPConn); ok && i%3 == 0 {
				_ = tcp.SetLinger(0)
			}
		})
	}
	clients.Wait()
	for deadline := time.Now().Add(15 * time.Second); ; {
		v := r.View()
		up := v.Clusters[0].Stats
		if r.upgrades() == 0 && v.Connections == 0 && up.ConnectionsActive.Load() == 0 && up.RequestsActive.Load() == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d upgrades, %d connections, %d upstream, %d requests are left", r.upgrades(), v.Connections, up.ConnectionsActive.Load(), up.RequestsActive.Load())
		}
		time.Sleep(time.Millisecond)
	}
	if n := r.View().Listeners[0].UpgradesTotal; n != 50 {
		t.Errorf("got %d upgrades, want 50", n)
	}
}

// endless is zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }
