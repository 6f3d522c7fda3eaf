package httpproxy

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/route"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a proxy between raw sockets: one listener, one route table, one cluster "up" with a raw origin.
type rig struct {
	t       testing.TB
	address string
	proxy   *Proxy
	client  *upstream.Client
	cluster *config.Cluster
	http    *config.HTTP
	options http1.ServerOptions
	routes  []*config.Route
	// others are more clusters, by name.
	others   map[string]*upstream.Client
	draining atomic.Bool

	mu sync.Mutex
	// seen are the requests that the origin got, conns the connections of clients; guarded by mu.
	seen  []string
	conns []net.Conn
	wg    sync.WaitGroup
	// listeners are closed in the end.
	listeners []net.Listener
}

// origin is what an upstream does with a connection on which a request's head has come.
type origin func(head string, c *originConn)

type originConn struct {
	net.Conn
	r *bufio.Reader
	// served is how many requests came before on this connection.
	served int
}

func (c *originConn) say(s string) { _, _ = io.WriteString(c.Conn, s) }

func (c *originConn) read(n int) string {
	b := make([]byte, n)
	n, _ = io.ReadFull(c.r, b)
	return string(b[:n])
}

// drain reads until the proxy closes.
func (c *originConn) drain() { _, _ = io.Copy(io.Discard, c.r) }

func say(answer string) origin { return func(_ string, c *originConn) { c.say(answer) } }

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func newRig(t testing.TB, o origin, change ...func(*rig)) *rig {
	t.Helper()
	r := &rig{
		t: t,
		cluster: &config.Cluster{
			Name: "up", ConnectTimeout: 5 * time.Second, MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024,
		},
		http: &config.HTTP{
			UseRemoteAddress: true, GenerateRequestID: true, NormalizePath: true,
			MaxHeaderBytes: 60 << 10, MaxHeaderCount: 100,
		},
		routes: []*config.Route{{Name: "Route/all", Match: config.Match{Path: "/"}, Clusters: []config.WeightedCluster{{Name: "up", Weight: 1}}}},
	}
	for _, c := range change {
		c(r)
	}
	var endpoints []config.Endpoint
	if o != nil {
		endpoints = []config.Endpoint{{Address: config.At(r.origin(o)), Weight: 1}}
	} else {
		endpoints = r.cluster.Static
	}
	r.client = upstream.NewClient(cluster.New(r.cluster, endpoints, nil), nil)
	table := route.New(&config.RouteTable{Hosts: []*config.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: r.routes}}})
	clients := map[string]*upstream.Client{"up": r.client}
	maps.Copy(clients, r.others)
	state := NewState(table, clients)
	r.proxy = New(Options{Config: r.http, State: func() *State { return state }, LocalAddress: netip.MustParseAddr("192.0.2.9")})
	r.serve()
	t.Cleanup(r.close)
	return r
}

func (r *rig) listen() net.Listener {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.listeners = append(r.listeners, l)
	return l
}

func (r *rig) origin(o origin) netip.AddrPort {
	l := r.listen()
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() {
				defer c.Close()
				oc := &originConn{Conn: c, r: bufio.NewReader(c)}
				for ; ; oc.served++ {
					head, err := readHead(oc.r)
					if err != nil {
						return
					}
					r.mu.Lock()
					r.seen = append(r.seen, head)
					r.mu.Unlock()
					o(head, oc)
				}
			})
		}
	})
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func readHead(r *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		head.WriteString(line)
		if line == "\r\n" {
			return head.String(), nil
		}
	}
}

func (r *rig) serve() {
	l := r.listen()
	r.address = l.Addr().String()
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, c)
			r.mu.Unlock()
			r.wg.Go(func() {
				conn := &Conn{
					Peer: c.RemoteAddr().(*net.TCPAddr).AddrPort(), Local: c.LocalAddr().(*net.TCPAddr).AddrPort(),
					Draining: &r.draining,
				}
				opts := r.options
				opts.Draining = &r.draining
				opts.MaxHeaderBytes, opts.MaxHeaderCount = r.http.MaxHeaderBytes, r.http.MaxHeaderCount
				opts.Panicked = func(value any, stack []byte) { r.t.Errorf("panic: %v\n%s", value, stack) }
				http1.ServeConn(c, opts, func(s *http1.ServerStream) { r.proxy.Serve(s, conn) })
			})
		}
	})
}

// drain is what a listener does.
func (r *rig) drain() {
	r.draining.Store(true)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

func (r *rig) close() {
	for _, l := range r.listeners {
		l.Close()
	}
	r.client.Close()
	r.mu.Lock()
	for _, c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
	stats := r.client.Cluster.Stats
	// Those of HTTP/2 take leave.
	for end := time.Now().Add(10 * time.Second); r.cluster.HTTP2 && stats.ConnectionsActive.Load() != 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n := stats.ConnectionsActive.Load(); n != 0 {
		r.t.Errorf("%d upstream connections are still counted", n)
	}
	if n := stats.RequestsActive.Load(); n != 0 {
		r.t.Errorf("%d requests are still counted", n)
	}
	if n := r.proxy.stats.RequestsActive.Load(); n != 0 {
		r.t.Errorf("%d requests are still counted downstream", n)
	}
}

// requests are the heads that the origin got.
func (r *rig) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.seen...)
}

func (r *rig) dial() *peer {
	r.t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r.t.Cleanup(func() { c.Close() })
	return &peer{Conn: c, t: r.t, r: bufio.NewReader(c)}
}

// peer is a raw client.
type peer struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (p *peer) say(s string) *peer {
	if _, err := io.WriteString(p.Conn, s); err != nil {
		p.t.Logf("client writes: %v", err)
	}
	return p
}

// answer reads one answer with its body.
func (p *peer) answer(method string) *answer {
	p.t.Helper()
	res, err := http.ReadResponse(p.r, &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("client reads: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	return &answer{Response: res, body: string(body), err: err}
}

type answer struct {
	*http.Response
	body string
	err  error
}

// rest is all bytes until the proxy closes.
func (p *peer) rest() string {
	b, err := io.ReadAll(p.r)
	if err != nil && len(b) == 0 {
		return err.Error()
	}
	return string(b)
}

// ended fails unless the proxy closes without another byte.
func (p *peer) ended() {
	p.t.Helper()
	if b, _ := io.ReadAll(p.r); len(b) > 0 {
		p.t.Fatalf("after the answer came %q, want the end", b)
	}
}

var changing = regexp.MustCompile(`(?m)^(date|x-request-id): .*\r\n`)

// plain takes what differs from run to run out of a head.
func plain(head string) string { return changing.ReplaceAllString(head, "") }

func get(path string, lines ...string) string { return request("GET", path, lines...) }

func request(method, path string, lines ...string) string {
	var b bytes.Buffer
	b.WriteString(method + " " + path + " HTTP/1.1\r\nHost: a.test\r\n")
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}
