package live

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/http2"
	"github.com/sluice-proxy/sluice/dataplane/httpproxy"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// session is a connection that speaks HTTP. It lives on while the connection waits for its next request.
type session struct {
	chain     *chain
	config    *config.HTTP
	transport net.Conn
	// codec is what the connection speaks, once that is known.
	codec config.Codec
	info  httpproxy.Conn
	// pending: bytes have come since the last request.
	pending bool
	// requests counts those begun, if that matters; any goroutine.
	requests atomic.Uint32
}

// openHTTP makes a session. In plaintext it waits for the first bytes with nothing but the connection: who never speaks
// costs little.
func (c *conn) openHTTP(ch *chain, transport net.Conn, state *tls.ConnectionState) (ended bool) {
	cfg := ch.config.Load().HTTP
	c.http = &session{
		chain: ch, config: cfg, codec: cfg.Codec, transport: transport,
		info: httpproxy.Conn{
			Peer: c.peer(), Direct: c.direct(), Local: c.local(), Socket: c.socketPath(),
			TLS: state, Listener: ch.listener.name, Chain: ch.name, Draining: &c.draining,
		},
	}
	if what := cfg.ForwardClient; what != nil && state != nil && len(state.PeerCertificates) > 0 {
		c.http.info.Client = certs.Forwarded(state.PeerCertificates[0], ch.tls.Presented(), *what)
	}
	c.http.info.Origin.Header = proxyprotocol.Header{Source: c.http.info.Peer, Destination: c.http.info.Local}
	if transport != c.Conn {
		return c.speak()
	}
	c.setWaits(true)
	// In a goroutine whose stack is as small as they begin.
	c.step = (*conn).awaitFirst
	c.resume()
	return false
}

// speak serves requests: in HTTP/2 until the connection ends, in HTTP/1 until it ends or has waited for a while.
func (c *conn) speak() (ended bool) {
	h := c.http
	if h.codec == config.CodecAuto {
		var err error
		if h.codec, err = c.detect(); err != nil {
			return true // nothing was asked
		}
	}
	if h.codec == config.CodecHTTP2 {
		c.serveHTTP2()
		return true
	}
	return c.serveHTTP1()
}

// detect tells the codec of a connection: by ALPN, or by its first bytes.
func (c *conn) detect() (config.Codec, error) {
	h := c.http
	if state := h.info.TLS; state != nil && state.NegotiatedProtocol != "" {
		if state.NegotiatedProtocol == "h2" {
			return config.CodecHTTP2, nil
		}
		return config.CodecHTTP1, nil
	}
	deadline := time.Time{}
	if h.config.IdleTimeout > 0 {
		deadline = time.Now().Add(h.config.IdleTimeout)
	}
	c.setWaits(true)
	is, peeked, err := listener.PeekPrefix(h.transport, deadline, http2.Preface)
	h.transport = peeked
	if err != nil || !is {
		return config.CodecHTTP1, err
	}
	return config.CodecHTTP2, nil
}

func (c *conn) serveHTTP2() {
	h, cfg := c.http, c.http.config
	c.setWaits(false)
	if cfg.MaxConnectionDuration > 0 {
		old := time.AfterFunc(cfg.MaxConnectionDuration, func() { h.chain.listener.runtime.drain([]*conn{c}) })
		defer old.Stop()
	}
	http2.ServeConn(h.transport, http2.ServerOptions{
		MaxHeaderBytes: cfg.MaxHeaderBytes, MaxHeaderCount: cfg.MaxHeaderCount,
		MaxConcurrentStreams: cfg.MaxConcurrentStreams,
		InitialStreamWindow:  cfg.InitialStreamWindow, InitialConnectionWindow: cfg.InitialConnectionWindow,
		IdleTimeout: cfg.IdleTimeout, WriteTimeout: cfg.StreamIdleTimeout,
		ExtendedConnect: cfg.AllowConnect, Drain: c.drained(), Refused: c.misunderstood, Panicked: c.panicked,
	}, c.request2)
}

func (c *conn) serveHTTP1() (ended bool) {
	h, cfg := c.http, c.http.config
	var ahead []byte
	if peeked, ok := h.transport.(*listener.Conn); ok {
		ahead, h.transport = peeked.Detach()
	}
	if ahead == nil && !h.pending && c.draining.Load() {
		// It began to drain before its first request, which http1 would not wait for.
		_, peeked, err := listener.PeekPrefix(h.transport, time.Now().Add(defaultHandshakeTimeout), " ")
		if err != nil {
			return true
		}
		ahead, h.transport = peeked.Detach()
	}
	c.setWaits(true)
	parked := http1.ServeConn(h.transport, http1.ServerOptions{
		MaxHeaderBytes: cfg.MaxHeaderBytes, MaxHeaderCount: cfg.MaxHeaderCount,
		IdleTimeout: cfg.IdleTimeout, RequestHeadersTimeout: cfg.RequestHeadersTimeout, RequestTimeout: cfg.RequestTimeout,
		MaxConnectionDuration: cfg.MaxConnectionDuration, Opened: c.start,
		AcceptHTTP10: cfg.AcceptHTTP10, RejectUnderscores: cfg.RejectUnderscores,
		Secure: h.info.TLS != nil, Draining: &c.draining, Prefix: ahead, Pending: h.pending, ParkAfter: c.listener.runtime.parkAfter,
		Refused: c.misunderstood, Panicked: c.panicked, Switched: func() { c.setWaits(false) },
	}, c.request1)
	if !parked {
		return true
	}
	return c.park(cfg.IdleTimeout, c.listener.runtime.parkAfter)
}

func (c *conn) misunderstood(req *message.Request, why *failure.Error) {
	c.http.chain.http.Refused(&c.http.info, req, why)
}

func (c *conn) panicked(value any, stack []byte) {
	l := c.http.chain.listener
	l.stats.Panics.Add(1)
	l.runtime.options.Logger.Error("request panicked", "listener", l.name, "peer", c.http.info.Peer,
		"panic", value, "stack", string(stack))
}
