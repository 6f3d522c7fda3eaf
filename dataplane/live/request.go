package live

import (
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/http2"
	"github.com/sluice-proxy/sluice/dataplane/httpproxy"
)

// request1 serves one request of HTTP/1.
func (c *conn) request1(s *http1.ServerStream) {
	c.request(s, func() httpproxy.Stream { return &paced1{ServerStream: s, pace: c.pace()} })
}

// request2 serves one request of HTTP/2.
func (c *conn) request2(s *http2.ServerStream) {
	c.request(s, func() httpproxy.Stream { return &paced2{ServerStream: s, pace: c.pace()} })
}

// request serves one request; paced is its stream where a body's rate is watched.
func (c *conn) request(s httpproxy.Stream, paced func() httpproxy.Stream) {
	c.count()
	proxy, info := c.http.chain.http, &c.http.info
	switch {
	case c.refuses():
		proxy.Overloaded(s, info)
	case c.listener.runtime.options.MinBodyRate > 0 && s.Request().ContentLength != 0:
		proxy.Serve(paced(), info)
	default:
		proxy.Serve(s, info)
	}
}

// count counts a request. As with Envoy, the last that a connection may bring is served still, and told that it is.
func (c *conn) count() {
	h := c.http
	if most := h.config.MaxRequests; most > 0 && h.requests.Add(1) == most {
		c.listener.runtime.drain([]*conn{c})
	}
}

// refuses tells whether there is no memory for one more request.
func (c *conn) refuses() bool {
	p := c.listener.runtime.options.Pressure
	if p == nil || !p.Refusing() {
		return false
	}
	c.listener.requestsRefused.Add(1)
	return true
}

// slowGrace is how long a body may be slow, for a start that is bad.
const slowGrace = 20 * time.Second

// pace gives a request up whose body comes too slowly: a client that sends a byte now and then holds a connection, and one
// to an upstream, for ever. Only the time counts that the client was waited for.
type pace struct {
	// rate is in bytes a second.
	rate   int
	grace  time.Duration
	slow   *atomic.Int64
	got    int64
	waited time.Duration
}

func (c *conn) pace() pace {
	r := c.listener.runtime
	return pace{rate: r.options.MinBodyRate, grace: r.slowGrace, slow: &c.listener.bodiesSlow}
}

// read reads, and judges afterwards: who sends nothing at all is ended by the idle timeout.
func (p *pace) read(read func([]byte) (int, error), b []byte) (int, error) {
	start := time.Now()
	n, err := read(b)
	p.waited += time.Since(start)
	p.got += int64(n)
	if err == nil && p.waited > p.grace+time.Duration(p.got)*time.Second/time.Duration(p.rate) {
		p.slow.Add(1)
		return 0, failure.Newf(failure.RequestTimeout, "%d bytes of body in %v", p.got, p.waited.Round(time.Millisecond))
	}
	return n, err
}

// paced1 is a stream of HTTP/1 whose body has a pace, paced2 one of HTTP/2.
type paced1 struct {
	*http1.ServerStream
	pace pace
}

type paced2 struct {
	*http2.ServerStream
	pace pace
}

// Read reads the request's body.
func (s *paced1) Read(b []byte) (int, error) { return s.pace.read(s.ServerStream.Read, b) }

// Read reads the request's body.
func (s *paced2) Read(b []byte) (int, error) { return s.pace.read(s.ServerStream.Read, b) }

// TookFrom counts what came past Read, from socket to socket: it came too.
func (s *paced1) TookFrom(n int64) {
	s.pace.got += n
	s.ServerStream.TookFrom(n)
}
