package live

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// synStorm connects to an address again and again, each time for one request, until stop is called; that returns how many it
// were. None may be refused, reset or left without an answer.
func synStorm(t *testing.T, address string, clients int) (count *atomic.Int64, stop func() int64) {
	t.Helper()
	count = &atomic.Int64{}
	var over atomic.Bool
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for !over.Load() {
				if err := once(address); err != nil {
					t.Errorf("%s, after %d: %v", address, count.Load(), err)
					return
				}
				count.Add(1)
			}
		})
	}
	return count, func() int64 { over.Store(true); wg.Wait(); return count.Load() }
}

func once(address string) error {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		err = fmt.Errorf("got %.40q", answer)
	}
	return err
}

// TestSocketOutlivesListener: whatever of a listener changes, its name, its options, or who of two has which address, its
// socket stays, and no client that connects meanwhile is lost.
func TestSocketOutlivesListener(t *testing.T) {
	r := newRuntime(t)
	// What it is for a stranger: a client on a busy machine may take longer than other tests want to wait.
	r.idleGrace = time.Second
	base := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
	base.RouteTables["rt"] = table("rt", "a")
	first, second := freePort(t), freePort(t)
	with := func(listeners ...*config.Listener) *config.Config {
		c := *base
		c.Listeners = map[string]*config.Listener{}
		for _, l := range listeners {
			c.Listeners[l.Name] = l
		}
		return &c
	}
	chain := func(change func(*config.FilterChain)) *config.FilterChain {
		c := httpChain("plain", "rt")
		change(c)
		return c
	}
	listen := func(name, address string, chains ...*config.FilterChain) *config.Listener {
		if len(chains) == 0 {
			chains = append(chains, httpChain("plain", "rt"))
		}
		return on(name, address, chains...)
	}
	plain := with(listen("x", first), listen("y", second))
	apply(t, r, plain)
	sockets := func() map[string]string {
		r.mu.Lock()
		defer r.mu.Unlock()
		all := map[string]string{}
		for _, l := range r.listeners {
			all[l.socket.key.place.Address.String()] = fmt.Sprintf("%p", l.socket)
		}
		return all
	}
	before := sockets()
	count, stop := synStorm(t, first, 4)
	for _, step := range []struct {
		name string
		next *config.Config
	}{
		{"idle timeout", with(listen("x", first, chain(func(c *config.FilterChain) { c.HTTP.IdleTimeout++ })), listen("y", second))},
		{"limit", with(listen("x", first, chain(func(c *config.FilterChain) { c.MaxConnections = 1000 })), listen("y", second))},
		{"headers", with(listen("x", first, chain(func(c *config.FilterChain) { c.HTTP.MaxHeaderCount++ })), listen("y", second))},
		{"codec", with(listen("x", first, chain(func(c *config.FilterChain) { c.HTTP.Codec = config.CodecHTTP1 })), listen("y", second))},
		{"chain's name", with(listen("x", first, chain(func(c *config.FilterChain) { c.Name = "other" })), listen("y", second))},
		{"default chain", with(&config.Listener{Name: "x", Address: netip.MustParseAddrPort(first), Default: httpChain("plain", "rt")}, listen("y", second))},
		{"timeout", with(func() *config.Listener { l := listen("x", first); l.HandshakeTimeout = time.Second; return l }(), listen("y", second))},
		{"the header is taken", with(func() *config.Listener {
			l := listen("x", first)
			l.ProxyHeader = config.ProxyHeaderOptional
			return l
		}(), listen("y", second))},
		{"name", with(listen("z", first), listen("y", second))},
		{"addresses change places", with(listen("y", first), listen("x", second))},
		{"and names too", with(listen("p", second), listen("q", first))},
	} {
		for range 5 {
			apply(t, r, step.next)
			for target := count.Load() + 10; count.Load() < target && !t.Failed(); {
				time.Sleep(time.Millisecond)
			}
			apply(t, r, plain)
		}
		if now := sockets(); now[first] != before[first] || now[second] != before[second] {
			t.Errorf("%s: the sockets are others: %v, before %v", step.name, now, before)
		}
	}
	t.Logf("%d connections", stop())
}

// TestSocketMoves: an address that stays served while the socket that has it changes, from one address to all and back, loses
// nobody either: what waits in the old one's queue is taken before it closes.
func TestSocketMoves(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
	c.RouteTables["rt"] = table("rt", "a")
	one := netip.MustParseAddrPort(freePort(t))
	all := netip.AddrPortFrom(netip.IPv4Unspecified(), one.Port())
	at := func(address netip.AddrPort) *config.Config {
		n := *c
		l := on("web", address.String(), httpChain("plain", "rt"))
		l.ReusePort = true
		n.Listeners = map[string]*config.Listener{"web": l}
		return &n
	}
	apply(t, r, at(one))
	count, stop := synStorm(t, one.String(), 8)
	for i := range 6 {
		apply(t, r, at([]netip.AddrPort{all, one}[i%2]))
		for target := count.Load() + 10; count.Load() < target && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	t.Logf("%d connections", stop())
}
