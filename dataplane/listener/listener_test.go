package listener

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func bind(t *testing.T, place Place) *Socket {
	t.Helper()
	s, err := Bind(place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

func serve(s *Socket, limit *Limit, handle func(net.Conn)) *Stats {
	stats := &Stats{}
	s.Serve(Options{
		Stats: func() *Stats { return stats }, Limit: limit, Logger: slog.New(slog.DiscardHandler),
		Handle: func(conn net.Conn, _ func()) Handler { return once{conn, handle} },
	})
	return stats
}

// once is a Handler that needs one Run.
type once struct {
	conn   net.Conn
	handle func(net.Conn)
}

func (o once) Run() Outcome { o.handle(o.conn); return Ended }
func (o once) End()         {}

func TestBindConflict(t *testing.T) {
	first := bind(t, Place{Address: at("127.0.0.1:0")})
	_, err := Bind(Place{Address: first.Addr()})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("got %v, want EADDRINUSE", err)
	}
	want := "listener: bind " + first.Addr().String() + ": bind: address already in use"
	if err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestReusePort(t *testing.T) {
	first := bind(t, Place{Address: at("127.0.0.1:0"), ReusePort: true})
	bind(t, Place{Address: first.Addr(), ReusePort: true})
}

func TestFamilies(t *testing.T) {
	for _, test := range []struct {
		name     string
		place    Place
		v4, v6   bool
		wildcard string
	}{
		{"IPv4", Place{Address: at("0.0.0.0:0")}, true, false, ""},
		{"IPv6 loopback", Place{Address: at("[::1]:0")}, false, true, ""},
		{"IPv6 alone", Place{Address: at("[::]:0")}, false, true, ""},
		{"both", Place{Address: at("[::]:0"), IPv4Compat: true}, true, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := bind(t, test.place)
			serve(s, nil, func(c net.Conn) {})
			for host, want := range map[string]bool{"127.0.0.1": test.v4, "::1": test.v6} {
				conn, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(host), s.Addr().Port()).String())
				if err == nil {
					conn.Close()
				}
				if (err == nil) != want {
					t.Errorf("%s: got %v, want taken: %v", host, err, want)
				}
			}
		})
	}
}

func dial(t *testing.T, s *Socket) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestPanicEndsOneConnection(t *testing.T) {
	s := bind(t, Place{Address: at("127.0.0.1:0")})
	stats := serve(s, nil, func(c net.Conn) {
		b := make([]byte, 1)
		_, _ = io.ReadFull(c, b)
		if b[0] == 'x' {
			panic("x")
		}
		_, _ = c.Write(b)
	})
	bad, good := dial(t, s), dial(t, s)
	_, _ = bad.Write([]byte("x"))
	if _, err := io.ReadAll(bad); err != nil {
		t.Fatal(err)
	}
	_, _ = good.Write([]byte("y"))
	if b, err := io.ReadAll(good); err != nil || string(b) != "y" {
		t.Fatal(b, err)
	}
	if n := stats.Panics.Load(); n != 1 {
		t.Errorf("%d panics", n)
	}
}

func TestLimit(t *testing.T) {
	s := bind(t, Place{Address: at("127.0.0.1:0")})
	taken, release := make(chan struct{}), make(chan struct{})
	stats := serve(s, NewLimit(1), func(c net.Conn) { taken <- struct{}{}; <-release })
	dial(t, s)
	<-taken
	if b, err := io.ReadAll(dial(t, s)); len(b) != 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(b, err)
	}
	if n := stats.Refused[AtLimit].Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
	close(release)
	for stats.ConnectionsActive.Load() > 0 {
	}
	dial(t, s)
	<-taken
}

// TestCloseTakesTheQueue: who has connected before Close is served.
func TestCloseTakesTheQueue(t *testing.T) {
	s := bind(t, Place{Address: at("127.0.0.1:0")})
	var conns []net.Conn
	for range 20 {
		conns = append(conns, dial(t, s))
	}
	serve(s, nil, func(c net.Conn) { _, _ = c.Write([]byte("ok")) })
	for !s.serving.Load() {
	}
	s.Close()
	for _, c := range conns {
		if b, err := io.ReadAll(c); string(b) != "ok" {
			t.Fatal(string(b), err)
		}
	}
	if _, err := net.Dial("tcp", s.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatal(err)
	}
}

func TestChoose(t *testing.T) {
	chain := func(name, transport string, rest ...string) *config.FilterChain {
		c := &config.FilterChain{Name: name, Match: config.ChainMatch{TransportProtocol: transport}}
		for _, r := range rest {
			if proto, ok := strings.CutPrefix(r, "alpn:"); ok {
				c.Match.ApplicationProtocols = append(c.Match.ApplicationProtocols, proto)
			} else {
				c.Match.ServerNames = append(c.Match.ServerNames, r)
			}
		}
		return c
	}
	chains := []*config.FilterChain{
		chain("plain", "raw_buffer"),
		chain("any tls", "tls"),
		chain("exact", "tls", "a.example.com"),
		chain("suffix", "tls", "*.example.com", "example.org"),
		chain("longer", "tls", "*.b.example.com"),
		chain("h2", "tls", "alpn.test", "alpn:h2"),
		chain("other", "tls", "alpn.test"),
		chain("only h2", "tls", "only.test", "alpn:h2"),
		chain("raw name", "raw_buffer", "raw.test"),
		chain("any transport", "", "any.test"),
	}
	c, err := NewChooser(chains)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		hello Hello
		want  string
	}{
		{Hello{}, "plain"},
		{Hello{TLS: true}, "any tls"},
		{Hello{TLS: true, ServerName: "unknown"}, "any tls"},
		{Hello{TLS: true, ServerName: "a.example.com"}, "exact"},
		{Hello{TLS: true, ServerName: "x.a.example.com"}, "suffix"},
		{Hello{TLS: true, ServerName: "c.example.com"}, "suffix"},
		{Hello{TLS: true, ServerName: "example.com"}, "any tls"},
		{Hello{TLS: true, ServerName: "example.org"}, "suffix"},
		{Hello{TLS: true, ServerName: "x.y.b.example.com"}, "longer"},
		{Hello{TLS: true, ServerName: "b.example.com"}, "suffix"},
		{Hello{TLS: true, ServerName: "alpn.test", ALPN: []string{"http/1.1", "h2"}}, "h2"},
		{Hello{TLS: true, ServerName: "alpn.test", ALPN: []string{"http/1.1"}}, "other"},
		{Hello{TLS: true, ServerName: "alpn.test"}, "other"},
		{Hello{TLS: true, ServerName: "only.test"}, ""},
		{Hello{TLS: true, ServerName: "raw.test"}, ""},
		{Hello{TLS: true, ServerName: "any.test"}, "any transport"},
	} {
		got := ""
		if i := c.Choose(test.hello); i >= 0 {
			got = chains[i].Name
		}
		if got != test.want {
			t.Errorf("%+v: got %q, want %q", test.hello, got, test.want)
		}
	}
	_, err = NewChooser([]*config.FilterChain{chain("a", "tls", "x.test"), chain("b", "tls", "y.test", "x.test")})
	if want := `filter chains "a" and "b" take the same connections (server name "x.test")`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
}
