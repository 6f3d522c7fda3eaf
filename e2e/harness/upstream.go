package harness

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Field is one header line.
type Field struct{ Name, Value string }

// Seen is a request as an upstream saw it.
type Seen struct {
	Upstream string
	// Proxy is what the PROXY protocol's header of its connection says: "v1 203.0.113.1:4711 192.0.2.1:443", "v2 local".
	Proxy string
	// SNI, ALPN and Client are of its connection's TLS: the name that was asked for, the protocol that was agreed on, and the
	// name of the certificate that the proxy showed.
	SNI, ALPN, Client string

	Proto  string
	Method string
	Path   string
	// Authority is Host or :authority.
	Authority string
	// Header is in order, and over HTTP/1 with its spelling; without Host.
	Header  []Field
	Trailer []Field
	Body    []byte
	// Whole tells that the request was read to its end.
	Whole bool
	// Broken says how the message broke HTTP; a proxy must not send such a thing.
	Broken string
}

// Get is all values of a name, joined by ", ".
func (s *Seen) Get(name string) string { return joined(s.Header, name) }

func joined(fields []Field, name string) string {
	var values []string
	for _, f := range fields {
		if strings.EqualFold(f.Name, name) {
			values = append(values, f.Value)
		}
	}
	return strings.Join(values, ", ")
}

// Upstream is a server that records what it sees, and answers what the request's x-echo-* headers ask for:
//
// Every answer carries x-echo: the upstream's name.
//
//	x-echo-status: 404            the status; 200 if left out
//	x-echo-header: name: value    a header of the answer; may stand several times
//	x-echo-body: text             the body; the upstream's name if left out
//	x-echo-size: 100000           a body of that many bytes
//	x-echo-chunked: yes           HTTP/1: chunked, even if the length is known
//	x-echo-trailer: name: value   a trailer
//	x-echo-interim: 103           an interim answer first
//	x-echo-delay: 2s              wait before the head
//	x-echo-early: yes             answer before the request's body is read
//	x-echo-upgrade: yes           switch to the protocol that is asked for, and send back what comes
//	x-echo-break: head            close without an answer; "body": close in the middle of the body
//	x-echo-raw: HTTP/1.1 2\r\n    HTTP/1: these bytes (Go escapes) are the whole answer, then close
//	x-echo-health: v1=503         from now on v1 answers health checks with this status; or with this number of gRPC's
//	                              ServingStatus, with minus that of its status codes, with "break" or with "hang"
//	x-echo-checked: yes           the answer says in x-echo-checked how the last health check went
//	x-echo-first: 2               all of these hold for the first two requests of an exchange, whichever of a stage's
//	                              upstreams gets them; later ones are answered as if they had asked for nothing
type Upstream struct {
	Name string
	// Addr is 127.0.0.1:port, or unix:/path.
	Addr string

	listener net.Listener
	serve    func(net.Conn)
	server   *http.Server  // HTTP/2 only
	quit     chan struct{} // closed at the end
	well     *wellness     // what health checks are told; a stage's upstreams share it
	tries    *atomic.Int64 // requests with x-echo-first; a stage's upstreams share it
	wg       sync.WaitGroup

	mu       sync.Mutex
	seen     []*Seen               // guarded by mu
	count    int                   // guarded by mu
	record   bool                  // guarded by mu; false counts only
	conns    map[net.Conn]struct{} // guarded by mu
	accepted int                   // guarded by mu
}

// NewUpstream is an HTTP/1.1 upstream on 127.0.0.1, until the test's end.
func NewUpstream(tb testing.TB, name string, options ...func(*Upstream)) *Upstream {
	u := newUpstream(tb, name, options)
	u.serve = u.serveHTTP1
	u.start()
	return u
}

// NewH2CUpstream speaks HTTP/2 with prior knowledge.
func NewH2CUpstream(tb testing.TB, name string, options ...func(*Upstream)) *Upstream {
	u := newUpstream(tb, name, options)
	u.startHTTP2()
	return u
}

// WantHeader lets an upstream that New makes want the PROXY protocol's header ahead of each connection, and record it.
func WantHeader(u *Upstream) { u.listener = headerListener{u.listener} }

// NewTCPUpstream says its name and a colon, reads to the end of what the client sends, and then answers with the same
// bytes: so it answers only a client whose half-close is carried through.
func NewTCPUpstream(tb testing.TB, name string, options ...func(*Upstream)) *Upstream {
	u := newUpstream(tb, name, options)
	u.serve = u.serveTCP
	u.start()
	return u
}

// NewEchoUpstream sends back what comes, as it comes.
func NewEchoUpstream(tb testing.TB, name string, options ...func(*Upstream)) *Upstream {
	u := newUpstream(tb, name, options)
	u.serve = func(c net.Conn) {
		u.add(&Seen{Upstream: u.Name, Proto: "TCP"})
		_, _ = io.Copy(c, c)
	}
	u.start()
	return u
}

func newUpstream(tb testing.TB, name string, options []func(*Upstream)) *Upstream {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	u := &Upstream{
		Name: name, Addr: l.Addr().String(), listener: l, record: true,
		quit: make(chan struct{}), well: newWellness(), tries: new(atomic.Int64), conns: map[net.Conn]struct{}{},
	}
	for _, option := range options {
		option(u)
	}
	tb.Cleanup(u.Close)
	return u
}

func (u *Upstream) start() {
	u.wg.Go(func() {
		for {
			c, err := u.listener.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			u.conns[c] = struct{}{}
			u.accepted++
			u.mu.Unlock()
			u.wg.Go(func() {
				u.serve(c)
				_ = c.Close()
				u.mu.Lock()
				delete(u.conns, c)
				u.mu.Unlock()
			})
		}
	})
}

// Close ends it and its connections.
func (u *Upstream) Close() {
	select {
	case <-u.quit:
		return
	default:
	}
	close(u.quit)
	_ = u.listener.Close()
	if u.server != nil {
		_ = u.server.Close()
	}
	u.mu.Lock()
	for c := range u.conns {
		_ = c.Close()
	}
	u.mu.Unlock()
	u.wg.Wait()
}

// CountOnly stops recording requests: for loads.
func (u *Upstream) CountOnly() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.record = false
}

// Count is how many requests (TCP: connections) it has seen.
func (u *Upstream) Count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.count
}

// Accepted is how many connections it has accepted.
func (u *Upstream) Accepted() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.accepted
}

// Take is what it saw since the last Take.
func (u *Upstream) Take() []*Seen {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}

// add records a request's head; the rest of it is filled in by update.
func (u *Upstream) add(s *Seen) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.count++
	if u.record {
		u.seen = append(u.seen, s)
	}
}

func (u *Upstream) update(change func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change()
}

func (u *Upstream) serveTCP(c net.Conn) {
	if secure, ok := c.(*tls.Conn); ok && secure.Handshake() != nil {
		return // nothing was said
	}
	s := &Seen{Upstream: u.Name, Proto: "TCP"}
	u.add(s)
	_, _ = fmt.Fprintf(c, "%s: ", u.Name)
	data, err := io.ReadAll(c)
	u.update(func() {
		s.Body, s.Proxy = data, said(c)
		s.secured(c)
		if err != nil {
			s.Broken = err.Error()
		}
	})
	_, _ = c.Write(data)
}

// plan is what the x-echo-* headers of a request ask for.
type plan struct {
	status           int
	header, trailer  []Field
	body             []byte
	chunked, early   bool
	upgrade          bool
	delay            time.Duration
	interim          int
	breakAt          string
	raw              string
	bodyless, isHead bool
}

func (u *Upstream) plan(s *Seen) (*plan, error) {
	p := &plan{status: 200, body: []byte(u.Name), isHead: s.Method == "HEAD"}
	for _, f := range s.Header {
		what, ok := strings.CutPrefix(strings.ToLower(f.Name), "x-echo-")
		if !ok {
			continue
		}
		var err error
		switch what {
		case "status":
			p.status, err = strconv.Atoi(f.Value)
		case "header", "trailer":
			name, value, found := strings.Cut(f.Value, ":")
			if !found {
				return nil, fmt.Errorf("%s: want name: value, got %q", f.Name, f.Value)
			}
			field := Field{strings.TrimSpace(name), strings.TrimSpace(value)}
			if what == "header" {
				p.header = append(p.header, field)
			} else {
				p.trailer = append(p.trailer, field)
			}
		case "body":
			p.body = []byte(f.Value)
		case "size":
			var n int
			n, err = strconv.Atoi(f.Value)
			p.body = Pattern(n)
		case "chunked":
			p.chunked = true
		case "upgrade":
			p.upgrade = true
		case "early":
			p.early = true
		case "interim":
			p.interim, err = strconv.Atoi(f.Value)
		case "delay":
			p.delay, err = time.ParseDuration(f.Value)
		case "break":
			p.breakAt = f.Value
		case "health":
			name, state, _ := strings.Cut(f.Value, "=")
			u.well.set(name, state)
		case "checked":
			p.header = append(p.header, Field{"x-echo-checked", u.well.checked(u.Name)})
		case "first":
			var n int64
			if n, err = strconv.ParseInt(f.Value, 10, 64); err == nil && u.tries.Add(1) > n {
				return &plan{status: 200, body: []byte(u.Name), isHead: p.isHead}, nil
			}
		case "raw":
			p.raw, err = strconv.Unquote(`"` + f.Value + `"`)
		default:
			err = fmt.Errorf("not known")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	p.bodyless = p.status == 204 || p.status == 304
	if p.bodyless {
		p.body = nil
	}
	return p, nil
}

// wait waits for a delay, or the end of the test.
func (u *Upstream) wait(d time.Duration) bool {
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-u.quit:
		return false
	}
}

// Pattern is n bytes that differ from place to place, so that a lost or doubled piece shows.
func Pattern(n int) []byte {
	b := make([]byte, 0, n+16)
	for i := 0; len(b) < n; i++ {
		b = fmt.Appendf(b, "%08x\n", i)
	}
	return b[:n]
}
