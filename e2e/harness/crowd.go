package harness

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Group is the clients of one listener that do the same. Each has one connection, keeps it, and sends the next request after a
// pause, during which it watches the connection. No request is ever sent twice.
type Group struct {
	Name string
	// Addr is dialled; Proto is HTTP/1.1, HTTP/2 or TCP (a line that comes back).
	Addr, Proto string
	TLS         bool
	// Host is the Host, and the server name in TLS.
	Host string
	// Paths are asked for by turns; nil is "/".
	Paths []string
	// Away tells whether nobody need listen at Addr; then it is no failure if nobody does. Nil is never.
	Away func() bool
	// Unaccepted: the reset of a connection before a byte of its first answer has come is taken for a refusal. A proxy that closes
	// a socket over connections that it had not accepted yet leaves their clients with that.
	Unaccepted bool
	// Delay is how long the upstream waits with its answer, so that some requests are under way at any moment.
	Delay time.Duration
	// Most is how many requests a client sends on a connection before it closes it; 0 is no bound.
	Most int
	// Pause is the time between two requests on average; 0 is 50 ms.
	Pause time.Duration
}

// Told is what came of a Group.
type Told struct {
	Requests, Failures int
	// Connections were opened; of these Asked were ended after the proxy had asked for it (Connection: close, GOAWAY), and
	// Closed without a word, between two requests.
	Connections, Asked, Closed int
	// Unaccepted are those that were reset before they were used, where that is a refusal.
	Unaccepted int
	// Words are the first failures; Ends are the first ends that were none.
	Words, Ends []string
}

// Crowd is the connections of several groups.
type Crowd struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	told map[string]*Told // guarded by mu
}

// NewCrowd is an empty one, until the test's end.
func NewCrowd(tb testing.TB) *Crowd {
	c := &Crowd{told: map[string]*Told{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	tb.Cleanup(func() { c.Stop() })
	return c
}

// Join adds n clients of a group.
func (c *Crowd) Join(n int, g Group) {
	if g.Pause == 0 {
		g.Pause = 50 * time.Millisecond
	}
	if len(g.Paths) == 0 {
		g.Paths = []string{"/"}
	}
	c.mu.Lock()
	c.told[g.Name] = &Told{}
	c.mu.Unlock()
	for range n {
		c.wg.Go(func() { c.live(&g) })
	}
}

// Stop ends all clients after the request that they are at, and tells what came of their groups.
func (c *Crowd) Stop() map[string]Told {
	c.cancel()
	c.wg.Wait()
	return c.So()
}

// So is what came of the groups so far.
func (c *Crowd) So() map[string]Told {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]Told{}
	for name, t := range c.told {
		all[name] = *t
	}
	return all
}

func (c *Crowd) count(g *Group, change func(*Told)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c.told[g.Name])
}

// failed counts a failure and keeps the first ones in words.
func (c *Crowd) failed(g *Group, what string, err error) {
	c.count(g, func(t *Told) {
		t.Failures++
		say(&t.Words, what+": "+err.Error())
	})
}

func say(to *[]string, words string) {
	if len(*to) < 10 {
		*to = append(*to, time.Now().Format("05.000 ")+words)
	}
}

// caller is one connection of a client.
type caller interface {
	// ask sends one request and reads the answer. asked: the proxy wants the connection to end; with an error, it was not sent.
	ask(path string) (asked bool, err error)
	// pause waits, and returns early with asked or closed.
	pause(ctx context.Context, d time.Duration) (asked, closed bool)
	close()
}

// errNotSent is an ask's: the proxy wanted the connection to end before.
var errNotSent = errors.New("not sent")

func (c *Crowd) live(g *Group) {
	for turn := rand.IntN(100); c.ctx.Err() == nil; {
		away := g.Away != nil && g.Away()
		line, err := g.dial()
		if err != nil {
			if away = away || g.Away != nil && g.Away(); !away {
				c.failed(g, "connect", err)
			}
			select {
			case <-time.After(g.Pause):
			case <-c.ctx.Done():
			}
			continue
		}
		c.count(g, func(t *Told) { t.Connections++ })
		c.talk(g, line, &turn)
		line.close()
	}
}

// talk uses a connection until it ends.
func (c *Crowd) talk(g *Group, line caller, turn *int) {
	for n := 0; c.ctx.Err() == nil && (g.Most == 0 || n < g.Most); n++ {
		*turn++
		asked, err := line.ask(g.Paths[*turn%len(g.Paths)])
		if !errors.Is(err, errNotSent) {
			c.count(g, func(t *Told) { t.Requests++ })
		}
		if err != nil && !errors.Is(err, errNotSent) {
			what := "a request"
			if n == 0 {
				what = "the first request"
				if g.Unaccepted && errors.Is(err, syscall.ECONNRESET) {
					c.count(g, func(t *Told) { t.Requests--; t.Unaccepted++ })
					return
				}
			}
			c.failed(g, what, err)
			return
		}
		closed := false
		if !asked {
			asked, closed = line.pause(c.ctx, g.Pause/2+rand.N(g.Pause))
		}
		switch {
		case asked:
			c.count(g, func(t *Told) { t.Asked++; say(&t.Ends, "asked to end") })
			return
		case closed:
			c.count(g, func(t *Told) { t.Closed++; say(&t.Ends, "closed") })
			return
		}
	}
}

func (g *Group) dial() (caller, error) {
	cfg := &tls.Config{ServerName: g.Host, InsecureSkipVerify: true}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if g.Proto == "HTTP/2" {
		return g.dialHTTP2(ctx, cfg)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", g.Addr)
	if err != nil {
		return nil, err
	}
	if g.TLS {
		secure := tls.Client(conn, cfg)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("handshake: %w", err)
		}
		conn = secure
	}
	return &oneByOne{group: g, conn: conn, reader: bufio.NewReader(conn)}, nil
}

func (g *Group) dialHTTP2(ctx context.Context, cfg *tls.Config) (caller, error) {
	transport := &http.Transport{TLSClientConfig: cfg, DisableCompression: true, Protocols: new(http.Protocols)}
	scheme := "http"
	if transport.Protocols.SetUnencryptedHTTP2(!g.TLS); g.TLS {
		transport.Protocols.SetHTTP2(true)
		scheme = "https"
	}
	conn, err := transport.NewClientConn(ctx, scheme, g.Addr)
	if err != nil {
		return nil, err
	}
	return &streams{group: g, scheme: scheme, conn: conn}, nil
}

// oneByOne is a connection of HTTP/1.1, or of lines over TCP.
type oneByOne struct {
	group  *Group
	conn   net.Conn
	reader *bufio.Reader
}

func (l *oneByOne) close() { _ = l.conn.Close() }

func (l *oneByOne) ask(path string) (asked bool, err error) {
	_ = l.conn.SetDeadline(time.Now().Add(Patience))
	if l.group.Proto == "TCP" {
		line := path + "\n"
		if _, err := io.WriteString(l.conn, line); err != nil {
			return false, err
		}
		if back, err := l.reader.ReadString('\n'); err != nil || back != line {
			return false, fmt.Errorf("got %q back: %w", back, err)
		}
		return false, nil
	}
	if _, err := fmt.Fprintf(l.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Echo-Delay: %s\r\n\r\n", path, l.group.Host, l.group.Delay); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return false, err
	}
	return resp.Close, whole(resp)
}

// whole reads an answer, which must be 200.
func whole(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %.80s", resp.StatusCode, body)
	}
	return nil
}

func (l *oneByOne) pause(ctx context.Context, d time.Duration) (asked, closed bool) {
	_ = l.conn.SetReadDeadline(time.Now().Add(d))
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := l.reader.Peek(1)
	var timeout net.Error
	return false, !errors.As(err, &timeout) || !timeout.Timeout()
}

// streams is a connection of HTTP/2.
type streams struct {
	group  *Group
	scheme string
	conn   *http.ClientConn
}

func (l *streams) close() { _ = l.conn.Close() }

func (l *streams) ask(path string) (asked bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.scheme+"://"+l.group.Host+path, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("X-Echo-Delay", l.group.Delay.String())
	if l.conn.Reserve() != nil {
		return true, errNotSent // GOAWAY has come
	}
	resp, err := l.conn.RoundTrip(req)
	if err != nil && strings.Contains(err.Error(), "client conn not usable") {
		return true, errNotSent // it came between
	}
	if err != nil {
		return false, err
	}
	return l.conn.Err() != nil, whole(resp)
}

func (l *streams) pause(ctx context.Context, d time.Duration) (asked, closed bool) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	// After GOAWAY it ends when its last stream has: both at once is the rule.
	return l.conn.Err() != nil, false
}
