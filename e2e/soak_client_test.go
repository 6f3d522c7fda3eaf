package e2e

import (
	"bufio"
	"bytes"
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
	"time"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// soakPath is where a plan goes: to the HTTP/1.1 origin or the HTTP/2 one, now and then to one that never answers.
func soakPath(p *plan) string {
	to := "/one"
	if rand.IntN(4) == 0 {
		to = "/two"
	}
	if rand.IntN(200) == 0 {
		p.act = "never"
		to = map[string]string{"/one": "/slow", "/two": "/slow2"}[to]
	}
	p.path = fmt.Sprintf("%s/%016x", to, p.token)
	return p.path
}

// received reads an answer of a plan to its end. whole tells that it came to its end, by its own account; it must be the
// plan's own then, and all of it. Any byte that comes before must be the plan's own too.
func (s *soak) received(p plan, res *http.Response, head bool) (whole bool) {
	if res.StatusCode != 200 {
		s.counts.statuses[res.StatusCode].Add(1)
		_, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
		return err == nil
	}
	if got, want := res.Header.Get("x-token"), fmt.Sprintf("%016x", p.token); got != want {
		s.fault("asked with token %s, got an answer with %q: plan %v", want, got, p)
		return false
	}
	own := &ownReader{plan: p}
	buf := make([]byte, 4096)
	for {
		n, err := res.Body.Read(buf)
		if !own.take(buf[:n]) {
			s.fault("another answer's bytes within that of plan %v", p)
			return false
		}
		if err == io.EOF {
			if own.n != p.size && !head || p.act == "body" && !head {
				s.fault("%d bytes were taken for the whole answer of plan %v", own.n, p)
			}
			s.counts.whole.Add(1)
			return true
		}
		if err != nil {
			s.counts.cut.Add(1)
			return false
		}
	}
}

// soakLine is a client's HTTP/1.1 connection.
type soakLine struct {
	net.Conn
	raw net.Conn
	r   *bufio.Reader
	// last is the request before.
	last plan
}

// dialLine connects, in plaintext or with TLS.
func (s *soak) dialLine() *soakLine {
	secure := rand.IntN(20) == 0
	addr := s.http
	if secure {
		addr = s.https
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		s.fault("dial: %v", err)
		return nil
	}
	_ = c.SetDeadline(time.Now().Add(harness.Patience))
	l := &soakLine{Conn: c, raw: c}
	if secure {
		if rand.IntN(4) == 0 {
			// Gone within the handshake.
			_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[:rand.IntN(12)])
			end(c)
			return s.dialLine()
		}
		l.Conn = tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "soak.test", NextProtos: []string{"http/1.1"}})
	}
	l.r = bufio.NewReader(l.Conn)
	return l
}

// http1Client sends requests on one connection as long as it lasts, and then on another.
func (s *soak) http1Client() {
	var l *soakLine
	for s.another() {
		if l == nil {
			if l = s.dialLine(); l == nil {
				return
			}
		}
		if !s.http1One(l) {
			end(l.raw)
			l = nil
		}
	}
	if l != nil {
		l.Close()
	}
}

// encodeHTTP1 is a request's bytes.
func encodeHTTP1(p *plan) (method string, text []byte) {
	method = "GET"
	var b bytes.Buffer
	path := soakPath(p)
	switch {
	case p.sent >= 0:
		method = "POST"
	case rand.IntN(10) == 0:
		method = "HEAD"
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: soak.test\r\nX-Plan: %v\r\n", method, path, *p)
	switch {
	case p.sent < 0:
		b.WriteString("\r\n")
	case rand.IntN(2) == 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", p.sent)
		b.Write(p.own(make([]byte, p.sent), 0))
	default:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for from := 0; from < p.sent; {
			part := p.own(make([]byte, 1+rand.IntN(p.sent-from)), from)
			from += len(part)
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
		}
		b.WriteString("0\r\n\r\n")
	}
	return method, b.Bytes()
}

// http1One is one request, or two in one piece; false ends the connection.
func (s *soak) http1One(l *soakLine) bool {
	_ = l.SetDeadline(time.Now().Add(harness.Patience))
	p := newPlan()
	method, text := encodeHTTP1(&p)
	plans, methods := []plan{p}, []string{method}
	act := rand.IntN(12)
	switch act {
	case 0:
		// Cut anywhere, in the head or in the body.
		_, _ = l.Write(text[:rand.IntN(len(text))])
		s.counts.left.Add(1)
		return false
	case 1:
		// Gone right after the request.
		_, _ = l.Write(text)
		s.counts.left.Add(1)
		return false
	case 2:
		if p.sent < 0 {
			p2 := newPlan()
			method2, text2 := encodeHTTP1(&p2)
			plans, methods = append(plans, p2), append(methods, method2)
			text = append(text, text2...)
		}
	}
	last := l.last
	l.last = plans[len(plans)-1]
	// A request that its client does not disturb is answered, by the proxy if its origin does not, whatever came before: an answer
	// that ends the connection says so. Only one that is answered before it was read may lose its answer.
	alone := act > 4 && (p.act != "early" || p.sent < 0)
	// One whose origin does its part is answered whole, if it may be repeated. (In HTTP/2 others break its connection off.)
	clean := alone && p.act == "answer" && method != "POST" && strings.HasPrefix(p.path, "/one")
	// The answer may come, and the proxy close, while we still write.
	if len(text) > 64<<10 {
		written := make(chan struct{})
		go func() {
			defer close(written)
			_, _ = l.Write(text)
		}()
		defer func() {
			// Who does not read on is not written to.
			_ = l.SetWriteDeadline(time.Now().Add(time.Second))
			<-written
		}()
	} else if _, err := l.Write(text); err != nil && alone {
		s.spoil(l, p, last, err)
		return false
	}
	half, _ := l.Conn.(*net.TCPConn)
	if act != 4 || len(text) > 64<<10 {
		half = nil
	}
	if half != nil {
		// No more will come, and the answer is still wanted.
		_ = half.CloseWrite()
	}
	for i, p := range plans {
		res, err := http.ReadResponse(l.r, &http.Request{Method: methods[i]})
		if err != nil {
			s.counts.cut.Add(1)
			if alone {
				s.spoil(l, p, last, err)
			}
			return false
		}
		if act == 3 {
			// Gone within the answer.
			_, _ = io.CopyN(io.Discard, res.Body, int64(rand.IntN(p.size+1)))
			s.counts.left.Add(1)
			return false
		}
		whole := s.received(p, res, methods[i] == "HEAD")
		if clean && (!whole || res.StatusCode != 200) {
			s.spoil(l, p, last, fmt.Errorf("status %d, whole %t", res.StatusCode, whole))
		}
		if !whole || res.Close || half != nil {
			return false
		}
	}
	if n := l.r.Buffered(); n > 0 {
		rest, _ := l.r.Peek(n)
		s.fault("after the answer of plan %v came %.100q", p, rest)
		return false
	}
	return true
}

// spoil notes a request that nobody disturbed, and that was not answered, or not as it must be.
func (s *soak) spoil(l *soakLine, p, last plan, err error) {
	s.counts.spoilt.Add(1)
	s.follow(p.token, last.token)
	s.fault("%v: nobody disturbed %s of plan %v on %v, after %s of plan %v, and it failed: %v",
		time.Now().UTC().Format(time.RFC3339Nano), p.path, p, l.raw.LocalAddr(), last.path, last, err)
}

// http2Client sends requests on streams of one connection, eight at a time.
func (s *soak) http2Client(secure bool) {
	var mu sync.Mutex
	var all []net.Conn
	ended := false
	addr, scheme := s.http, "http"
	transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if secure {
		addr, scheme = s.https, "https"
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		if all = append(all, c); ended {
			// The transport goes on dialling when nobody waits any more.
			c.Close()
		}
		return c, nil
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for s.another() {
				s.http2One(transport, scheme)
				if rand.IntN(200) == 0 {
					// The whole connection goes, with all that is on it.
					mu.Lock()
					if len(all) > 0 {
						end(all[len(all)-1])
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	transport.CloseIdleConnections()
	mu.Lock()
	defer mu.Unlock()
	ended = true
	for _, c := range all {
		c.Close()
	}
}

// cancelling is a request's body that resets its stream after some bytes, or -1 never.
type cancelling struct {
	io.Reader
	after  int
	cancel func()
}

func (c *cancelling) Read(p []byte) (int, error) {
	if c.after >= 0 {
		if p = p[:min(len(p), c.after)]; len(p) == 0 {
			c.cancel()
			return 0, errors.New("gone")
		}
	}
	n, err := c.Reader.Read(p)
	if c.after >= 0 {
		c.after -= n
	}
	return n, err
}

// http2One is one stream.
func (s *soak) http2One(transport *http.Transport, scheme string) {
	p := newPlan()
	path := soakPath(&p)
	ctx, cancel := context.WithTimeout(context.Background(), harness.Patience)
	defer cancel()
	act, left := rand.IntN(8), false
	leave := func() {
		left = true
		cancel()
	}
	method := "GET"
	var body io.Reader
	if p.sent >= 0 {
		method = "POST"
		b := &cancelling{Reader: bytes.NewReader(p.own(make([]byte, p.sent), 0)), after: -1, cancel: func() {}}
		if act == 0 {
			b.after, b.cancel = rand.IntN(p.sent+1), cancel
		}
		body = b
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://soak.test"+path, body)
	if err != nil {
		s.fault("%v", err)
		return
	}
	if p.sent >= 0 && rand.IntN(2) == 0 {
		req.ContentLength = int64(p.sent)
	}
	req.Header.Set("x-plan", p.String())
	if act == 1 {
		// Gone while it waits, or before.
		time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, cancel)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		s.counts.cut.Add(1)
		return
	}
	defer res.Body.Close()
	if act == 2 {
		_, _ = io.CopyN(io.Discard, res.Body, int64(rand.IntN(p.size+1)))
		leave()
	}
	if left {
		s.counts.left.Add(1)
		return
	}
	s.received(p, res, false)
}
