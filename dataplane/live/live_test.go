package live

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// TestCodecs: one port speaks all of them.
func TestCodecs(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
	c.RouteTables["rt"] = table("rt", "a")
	plain := httpChain("plain", "rt")
	plain.Match.TransportProtocol = "raw_buffer"
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("tls", "rt", "shop.test"), plain)
	c.Certificates["tls"] = selfSigned(t, "tls", "shop.test")
	apply(t, r, c)
	for _, test := range []struct{ scheme, protocol, want string }{
		{"http", "http/1.1", "HTTP/1.1 200 A GET /x"},
		{"http", "h2c", "HTTP/2.0 200 A GET /x"},
		{"https", "http/1.1", "HTTP/1.1 200 A GET /x"},
		{"https", "h2", "HTTP/2.0 200 A GET /x"},
	} {
		newClient(t, r.addressOf(t, "web"), test.scheme, test.protocol).want(t, "shop.test", "/x", test.want)
	}
	for r.View().Listeners[0].RequestsActive > 0 { // a client has its answer before it is counted
		time.Sleep(time.Millisecond)
	}
	v := r.View().Listeners[0]
	if v.ConnectionsTotal != 4 || v.Requests[2] != 4 {
		t.Errorf("%+v", v)
	}
	// No chain for the name: closed.
	if _, err := newClient(t, r.addressOf(t, "web"), "https", "h2").get("other.test", "/"); err == nil {
		t.Error("an unknown name was served")
	}
}

// TestSwapKeepsConnections: routes, endpoints, matches and certificates change under a connection.
func TestSwapKeepsConnections(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			r := newRuntime(t)
			a, b := origin(t, "A"), origin(t, "B")
			make := func(change func(c *config.Config)) *config.Config {
				c := makeConfig(map[string]config.Endpoint{"a": a, "b": b})
				c.RouteTables["rt"] = table("rt", "a")
				c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("tls", "rt", "shop.test"))
				c.Certificates["tls"] = selfSigned(t, "tls", "shop.test")
				change(c)
				return c
			}
			apply(t, r, make(func(*config.Config) {}))
			address := r.addressOf(t, "web")
			client := newClient(t, address, "https", protocol)
			get := func(want string) {
				t.Helper()
				got, err := client.get("shop.test", "/")
				if err != nil || !strings.HasSuffix(got, want) {
					t.Fatalf("got %q, %v, want %q", got, err, want)
				}
			}
			get("200 A GET /")
			apply(t, r, make(func(c *config.Config) { c.RouteTables["rt"] = table("rt", "b") }))
			get("200 B GET /")
			apply(t, r, make(func(c *config.Config) { c.Clusters["a"].Static = []config.Endpoint{b} }))
			get("200 B GET /")
			apply(t, r, make(func(c *config.Config) { c.Listeners["web"].Chains[0].Match.ServerNames = []string{"*.test"} }))
			get("200 A GET /")
			apply(t, r, make(func(c *config.Config) { delete(c.RouteTables, "rt") }))
			get("404")
			apply(t, r, make(func(c *config.Config) { delete(c.Clusters, "a") }))
			if got, err := client.get("shop.test", "/"); err != nil || !strings.Contains(got, " 503") {
				t.Fatal(got, err)
			}
			apply(t, r, make(func(c *config.Config) {
				c.Listeners["web"].Chains[0].HTTP.RouteTable = table("inline", "b")
				c.Listeners["web"].Chains[0].HTTP.RouteTableName = ""
			}))
			get("200 B GET /")
			wantConnections(t, r, "web", 1)
			if r.addressOf(t, "web") != address {
				t.Error("the socket was not kept")
			}
		})
	}
}

func TestCertificateRotation(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
	c.RouteTables["rt"] = table("rt", "a")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("tls", "rt", "shop.test"))
	// Not there yet: handshakes are refused.
	apply(t, r, c)
	address := r.addressOf(t, "web")
	present := func() string {
		conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: "shop.test", InsecureSkipVerify: true})
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := present(); !strings.Contains(got, "tls: ") {
		t.Fatal(got)
	}
	next := func(certificate *config.Certificate) error {
		n := *c
		certificate.Name = "tls"
		n.Certificates = map[string]*config.Certificate{"tls": certificate}
		return r.Apply(&n)
	}
	if err := next(selfSigned(t, "first", "shop.test")); err != nil {
		t.Fatal(err)
	}
	old := newClient(t, address, "https", "h2")
	old.want(t, "shop.test", "/", "HTTP/2.0 200 A GET /")
	before := r.total(t, "web")
	if err := next(selfSigned(t, "second", "shop.test")); err != nil {
		t.Fatal(err)
	}
	old.want(t, "shop.test", "/", "HTTP/2.0 200 A GET /")
	wantConnections(t, r, "web", before)
	if got := present(); got != "second" {
		t.Error(got)
	}
	// A bad one is told, and the last good one serves.
	bad := selfSigned(t, "third", "shop.test")
	bad.Key = selfSigned(t, "other", "shop.test").Key
	err := next(bad)
	if err == nil || !strings.Contains(err.Error(), `live: certs: certificate "tls": private key does not match`) {
		t.Error(err)
	}
	if got := present(); got != "second" {
		t.Error(got)
	}
}

// TestChainChange: a chain that changed drains, and the connections of the other stay.
func TestChainChange(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			r := newRuntime(t)
			c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
			c.RouteTables["rt"] = table("rt", "a")
			c.Certificates["one"], c.Certificates["two"] = selfSigned(t, "one", "one.test"), selfSigned(t, "two", "two.test")
			one, two := httpChain("one", "rt", "one.test"), httpChain("two", "rt", "two.test")
			c.Listeners["web"] = on("web", "127.0.0.1:0", one, two)
			apply(t, r, c)
			address := r.addressOf(t, "web")
			first, second := newClient(t, address, "https", protocol), newClient(t, address, "https", protocol)
			get := func(client *client, host string) {
				t.Helper()
				if got, err := client.get(host, "/"); err != nil || !strings.HasSuffix(got, " 200 A GET /") {
					t.Fatal(got, err)
				}
			}
			get(first, "one.test")
			get(second, "two.test")
			changed := httpChain("one", "rt", "one.test")
			changed.HTTP.MaxHeaderCount = 50
			next := *c
			next.Listeners = map[string]*config.Listener{"web": on("web", "127.0.0.1:0", two, changed)}
			for r.View().Listeners[0].RequestsActive > 0 { // those before may not be counted out yet
				time.Sleep(time.Millisecond)
			}
			// A request that is under way ends well.
			slow := make(chan error)
			go func() {
				_, err := first.get("one.test", "/slow?wait=300ms")
				slow <- err
			}()
			for r.View().Listeners[0].RequestsActive == 0 {
				time.Sleep(time.Millisecond)
			}
			apply(t, r, &next)
			if err := <-slow; err != nil {
				t.Fatal(err)
			}
			wantConnections(t, r, "web", 2)
			get(second, "two.test")
			wantConnections(t, r, "web", 2)
			get(first, "one.test")
			wantConnections(t, r, "web", 3)
			for r.View().Connections > 2 {
				time.Sleep(time.Millisecond)
			}
		})
	}
}

// TestRechoose: a name that moves to another chain takes its connections along.
func TestRechoose(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A"), "b": origin(t, "B")})
	c.RouteTables["a"], c.RouteTables["b"] = table("a", "a"), table("b", "b")
	c.Certificates["one"], c.Certificates["two"] = selfSigned(t, "one", "x.test"), selfSigned(t, "two", "x.test")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("one", "a", "x.test"), httpChain("two", "b", "y.test"))
	apply(t, r, c)
	client := newClient(t, r.addressOf(t, "web"), "https", "h2")
	client.want(t, "x.test", "/", "HTTP/2.0 200 A GET /")
	next := *c
	next.Listeners = map[string]*config.Listener{
		"web": on("web", "127.0.0.1:0", httpChain("one", "a", "z.test"), httpChain("two", "b", "y.test", "x.test"))}
	apply(t, r, &next)
	for r.View().Connections > 0 {
		time.Sleep(time.Millisecond)
	}
	client.want(t, "x.test", "/", "HTTP/2.0 200 B GET /")
}

// TestReloadUnderLoad loses no request, whatever changes.
func TestReloadUnderLoad(t *testing.T) {
	r := newRuntime(t)
	r.idleGrace = time.Second
	a, b := origin(t, "A"), origin(t, "B")
	certificates := []*config.Certificate{selfSigned(t, "tls", "shop.test"), selfSigned(t, "tls", "shop.test")}
	make := func(i int) *config.Config {
		c := makeConfig(map[string]config.Endpoint{"a": a, "b": b})
		if i%3 == 1 {
			c.Clusters["a"].Static = []config.Endpoint{a, b}
		}
		c.RouteTables["rt"] = table("rt", []string{"a", "b"}[i/2%2])
		tlsChain := httpChain("tls", "rt", "shop.test")
		tlsChain.HTTP.MaxHeaderCount = 90 + i/5%2
		plain := httpChain("plain", "rt")
		plain.Match.TransportProtocol = "raw_buffer"
		plain.HTTP.MaxHeaderCount = 90 + i/7%2
		c.Listeners["web"] = on("web", "127.0.0.1:0", tlsChain, plain)
		c.Certificates["tls"] = certificates[i/4%2]
		if i%2 == 0 {
			c.Listeners["other"] = on("other", "127.0.0.1:0", httpChain("plain", "rt"))
		}
		return c
	}
	apply(t, r, make(0))
	address := r.addressOf(t, "web")
	var requests, failures atomic.Int64
	stop := atomic.Bool{}
	var clients sync.WaitGroup
	for _, kind := range [][2]string{{"http", "http/1.1"}, {"http", "h2c"}, {"https", "http/1.1"}, {"https", "h2"}} {
		for range 3 {
			c := newClient(t, address, kind[0], kind[1])
			clients.Go(func() {
				for !stop.Load() {
					requests.Add(1)
					if got, err := c.get("shop.test", "/"); err != nil || !strings.Contains(got, " 200 ") {
						failures.Add(1)
						t.Errorf("%v: %q, %v", kind, got, err)
					}
				}
			})
		}
	}
	for i := range 60 {
		apply(t, r, make(i))
		for target := requests.Load() + 20; requests.Load() < target; {
			time.Sleep(time.Millisecond)
		}
	}
	stop.Store(true)
	clients.Wait()
	if failures.Load() > 0 {
		t.Errorf("%d of %d requests failed", failures.Load(), requests.Load())
	}
}

func TestBind(t *testing.T) {
	r := newRuntime(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
	c.RouteTables["rt"] = table("rt", "a")

	// An address that another process has.
	bad := on("bad", taken.Addr().String(), httpChain("plain", "rt"))
	if err := r.Bind(bad); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), `listener "bad": `) {
		t.Fatal(err)
	}
	// Bound before Apply: clients wait, and are served by it.
	good := on("good", freePort(t), httpChain("plain", "rt"))
	if err := r.Bind(good); err != nil {
		t.Fatal(err)
	}
	if err := r.Bind(good); err != nil {
		t.Fatal(err)
	}
	answer := make(chan string)
	waiting := newClient(t, good.Address.String(), "http", "http/1.1")
	go func() {
		got, err := waiting.get("x", "/")
		if err != nil {
			got = err.Error()
		}
		answer <- got
	}()
	c.Listeners["good"], c.Listeners["bad"] = good, bad
	if err := r.Apply(c); !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), `live: listener "bad": `) {
		t.Fatal(err)
	}
	if got := <-answer; got != "HTTP/1.1 200 A GET /" {
		t.Fatal(got)
	}
	// What is refused leaves the listener as it was: two chains for the same connections.
	clash := *c
	clash.Listeners = map[string]*config.Listener{"good": on("good", good.Address.String(), httpChain("plain", "rt"), httpChain("twin", "rt"))}
	if err := r.Apply(&clash); err == nil || !strings.Contains(err.Error(), `listener "good": filter chains "plain" and "twin"`) {
		t.Fatal(err)
	}
	waiting.want(t, "x", "/", "HTTP/1.1 200 A GET /")
	wantConnections(t, r, "good", 1)

	// Two listeners at one address: the first has it.
	both := *c
	both.Listeners = map[string]*config.Listener{"good": good, "second": on("second", good.Address.String(), httpChain("plain", "rt"))}
	if err := r.Apply(&both); err == nil || !strings.Contains(err.Error(), `listener "second": address `+good.Address.String()+` is listener "good"'s`) {
		t.Fatal(err)
	}
	// A new name at the same address inherits the socket.
	renamed := *c
	renamed.Listeners = map[string]*config.Listener{"second": both.Listeners["second"]}
	apply(t, r, &renamed)
	newClient(t, good.Address.String(), "http", "http/1.1").want(t, "x", "/", "HTTP/1.1 200 A GET /")
	// Two that swap their addresses.
	other := freePort(t)
	swap := func(x, y string) *config.Config {
		n := *c
		n.Listeners = map[string]*config.Listener{"x": on("x", x, httpChain("x", "rt")), "y": on("y", y, httpChain("y", "rt"))}
		return &n
	}
	apply(t, r, swap(good.Address.String(), other))
	apply(t, r, swap(other, good.Address.String()))
	if r.addressOf(t, "x") != other || r.addressOf(t, "y") != good.Address.String() {
		t.Error("not swapped")
	}
	for _, address := range []string{other, good.Address.String()} {
		newClient(t, address, "http", "http/1.1").want(t, "x", "/", "HTTP/1.1 200 A GET /")
	}
	// Removed: nobody listens.
	empty := makeConfig(nil)
	apply(t, r, empty)
	if _, err := net.Dial("tcp", other); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatal(err)
	}
}

func TestIPv6(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
	c.RouteTables["rt"] = table("rt", "a")
	both := on("both", "[::]:0", httpChain("plain", "rt"))
	both.IPv4Compat = true
	c.Listeners["both"] = both
	apply(t, r, c)
	_, port, _ := net.SplitHostPort(r.addressOf(t, "both"))
	for _, host := range []string{"::1", "127.0.0.1"} {
		newClient(t, net.JoinHostPort(host, port), "http", "http/1.1").want(t, "x", "/", "HTTP/1.1 200 A GET /")
	}
}

func tcpListener(cluster, log string) *config.Listener {
	chain := &config.FilterChain{Name: "tcp", TCP: &config.TCP{MaxConnectAttempts: 1,
		Clusters: []config.WeightedCluster{{Name: cluster, Weight: 1}}}}
	if log != "" {
		chain.TCP.AccessLogs = []*config.AccessLog{{Path: log, Format: config.Format{
			{Name: "UPSTREAM_CLUSTER"}, {Literal: " "}, {Name: "BYTES_SENT"}, {Literal: "\n"},
		}}}
	}
	return on("tcp", "127.0.0.1:0", chain)
}

// TestTCP: a pipe goes on while its listener changes, and is cut when the drain's time is over; its log is written.
func TestTCP(t *testing.T) {
	r := newRuntime(t)
	r.options.DrainTime = 100 * time.Millisecond
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	endpoint := config.Endpoint{Weight: 1}
	endpoint.Address = config.At(echo.Addr().(*net.TCPAddr).AddrPort())
	log := t.TempDir() + "/log"
	c := makeConfig(map[string]config.Endpoint{"echo": endpoint})
	c.Listeners["tcp"] = tcpListener("echo", log)
	apply(t, r, c)
	conn, err := net.Dial("tcp", r.addressOf(t, "tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	say := func() error {
		if _, err := conn.Write([]byte("hello")); err != nil {
			return err
		}
		_, err := io.ReadFull(conn, make([]byte, 5))
		return err
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}
	// The cluster changes, the chain does not.
	next := *c
	next.Clusters = makeConfig(map[string]config.Endpoint{"echo": endpoint}).Clusters
	next.Clusters["echo"].ConnectTimeout = 2 * time.Second
	apply(t, r, &next)
	if err := say(); err != nil {
		t.Fatal(err)
	}
	next.Listeners = nil
	apply(t, r, &next)
	if err := say(); err != nil {
		t.Fatal("cut at once: ", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("not cut")
	}
	r.Drain(context.Background())
	if data, err := os.ReadFile(log); string(data) != "echo 15\n" {
		t.Fatalf("%q, %v", data, err)
	}
}

func TestDrain(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
	c.RouteTables["rt"] = table("rt", "a")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("plain", "rt"))
	apply(t, r, c)
	address := r.addressOf(t, "web")
	answers := make(chan string, 2)
	for _, protocol := range []string{"http/1.1", "h2c"} {
		// One connection idles, one has a request under way, one has said nothing.
		idle, busy := newClient(t, address, "http", protocol), newClient(t, address, "http", protocol)
		if _, err := idle.get("x", "/"); err != nil {
			t.Fatal(err)
		}
		go func() {
			got, err := busy.get("x", "/?wait=300ms")
			if err != nil {
				got = err.Error()
			}
			answers <- got
		}()
	}
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for r.View().Listeners[0].RequestsActive < 2 || r.View().Connections < 5 {
		time.Sleep(time.Millisecond)
	}
	begin := time.Now()
	r.Drain(t.Context())
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	for range 2 {
		if got := <-answers; !strings.HasSuffix(got, " 200 A GET /") {
			t.Error(got)
		}
	}
	if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	if err := r.Apply(c); !errors.Is(err, errDraining) {
		t.Error(err)
	}
	if n := r.View().Connections; n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestDrainCuts what does not end in time.
func TestDrainCuts(t *testing.T) {
	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"a": origin(t, "A")})
	c.RouteTables["rt"] = table("rt", "a")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("plain", "rt"))
	apply(t, r, c)
	failed := make(chan error, 2)
	for _, protocol := range []string{"http/1.1", "h2c"} {
		client := newClient(t, r.addressOf(t, "web"), "http", protocol)
		go func() {
			_, err := client.get("x", "/?wait=1m")
			failed <- err
		}()
	}
	for r.View().Listeners[0].RequestsActive < 2 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r.Drain(ctx)
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("not cut")
		}
	}
}
