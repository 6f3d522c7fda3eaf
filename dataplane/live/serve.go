package live

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/http2"
	"github.com/sluice-proxy/sluice/dataplane/httpproxy"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/socket"
	"github.com/sluice-proxy/sluice/dataplane/tcpproxy"
)

// defaultHandshakeTimeout is Envoy's for listener filters.
const defaultHandshakeTimeout = 15 * time.Second

// serve is the life of a connection: peek, choose a chain, handshake, speak. It runs in the connection's own goroutine.
func (l *running) serve(raw net.Conn) {
	r := l.runtime
	start := time.Now()
	c := &conn{Conn: raw, drain: make(chan struct{})}
	r.conns.add(c)
	defer r.conns.remove(c)

	v := l.version.Load()
	timeout := v.config.HandshakeTimeout
	if timeout <= 0 {
		timeout = defaultHandshakeTimeout
	}
	deadline := start.Add(timeout)
	transport := raw
	if v.config.InspectTLS {
		hello, peeked, err := listener.PeekHello(raw, deadline)
		if err != nil {
			l.stats.PeekFailed.Add(1)
			return
		}
		c.hello, transport = hello, peeked
	}
	ch := l.join(c)
	if ch == nil {
		l.stats.NoChain.Add(1)
		return
	}
	var state *tls.ConnectionState
	if ch.tls != nil {
		secure, err := handshake(transport, ch.tls.Config(), deadline)
		if err != nil {
			l.stats.HandshakeFailed.Add(1)
			return
		}
		now := secure.ConnectionState()
		transport, state = secure, &now
	}
	if ch.tcp != nil {
		ch.serveTCP(c, transport, state, start)
		return
	}
	ch.serveHTTP(c, transport, state)
}

// join finds the chain of the newest version; nil if there is none.
func (l *running) join(c *conn) *chain {
	conns := &l.runtime.conns
	for {
		v := l.version.Load()
		ch := v.choose(c.hello)
		if ch == nil || conns.join(c, ch, false) {
			return ch
		}
		if l.version.Load() == v {
			// The listener is gone; who connected before that has its request served still.
			conns.join(c, ch, true)
			l.runtime.drain([]*conn{c})
			return ch
		}
	}
}

func handshake(transport net.Conn, cfg *tls.Config, deadline time.Time) (*tls.Conn, error) {
	if err := transport.SetDeadline(deadline); err != nil {
		return nil, err
	}
	secure := tls.Server(socket.Wrap(transport), cfg)
	if err := secure.Handshake(); err != nil {
		return nil, err
	}
	return secure, transport.SetDeadline(time.Time{})
}

// address is of a TCP connection; an IPv4 client of a socket for both families is written as IPv4.
func address(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func (ch *chain) serveTCP(c *conn, transport net.Conn, state *tls.ConnectionState, start time.Time) {
	info := &tcpproxy.Conn{
		Peer: address(c.RemoteAddr()), Local: address(c.LocalAddr()),
		Listener: ch.listener.name, Chain: ch.name, ServerName: c.hello.ServerName, Start: start,
	}
	if state != nil {
		info.ServerName, info.TLSVersion = state.ServerName, tlsVersion(state.Version)
	}
	ch.tcp.Serve(context.Background(), transport, info)
}

// tlsVersion is as Envoy writes it: "TLSv1.3".
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return tls.VersionName(v)
}

func (ch *chain) serveHTTP(c *conn, transport net.Conn, state *tls.ConnectionState) {
	cfg := ch.config.Load().HTTP
	info := &httpproxy.Conn{
		Peer: address(c.RemoteAddr()), Local: address(c.LocalAddr()),
		TLS: state, Listener: ch.listener.name, Chain: ch.name, Draining: &c.draining,
	}
	codec := cfg.Codec
	if codec == config.CodecAuto {
		var err error
		if codec, transport, err = detect(c, transport, state, cfg.IdleTimeout); err != nil {
			return // nothing was asked
		}
	}
	refused := func(req *message.Request, why *failure.Error) { ch.http.Refused(info, req, why) }
	panicked := func(value any, stack []byte) {
		ch.listener.stats.Panics.Add(1)
		ch.listener.runtime.options.Logger.Error("request panicked", "listener", info.Listener, "peer", info.Peer,
			"panic", value, "stack", string(stack))
	}
	if codec == config.CodecHTTP2 {
		if cfg.MaxConnectionDuration > 0 {
			old := time.AfterFunc(cfg.MaxConnectionDuration, func() { ch.listener.runtime.drain([]*conn{c}) })
			defer old.Stop()
		}
		http2.ServeConn(transport, http2.ServerOptions{
			MaxHeaderBytes: cfg.MaxHeaderBytes, MaxHeaderCount: cfg.MaxHeaderCount,
			MaxConcurrentStreams: cfg.MaxConcurrentStreams,
			InitialStreamWindow:  cfg.InitialStreamWindow, InitialConnectionWindow: cfg.InitialConnectionWindow,
			IdleTimeout: cfg.IdleTimeout, WriteTimeout: cfg.StreamIdleTimeout,
			Drain: c.drain, Refused: refused, Panicked: panicked,
		}, func(s *http2.ServerStream) { ch.http.Serve(s, info) })
		return
	}
	var ahead []byte
	if peeked, ok := transport.(*listener.Conn); ok {
		ahead, transport = peeked.Detach()
	}
	if ahead == nil && c.draining.Load() {
		// It began to drain before its first request, which http1 would not wait for.
		_, peeked, err := listener.PeekPrefix(transport, time.Now().Add(defaultHandshakeTimeout), " ")
		if err != nil {
			return
		}
		ahead, transport = peeked.Detach()
	}
	c.setWaits(true)
	http1.ServeConn(transport, http1.ServerOptions{
		MaxHeaderBytes: cfg.MaxHeaderBytes, MaxHeaderCount: cfg.MaxHeaderCount,
		IdleTimeout: cfg.IdleTimeout, RequestHeadersTimeout: cfg.RequestHeadersTimeout, RequestTimeout: cfg.RequestTimeout,
		MaxConnectionDuration: cfg.MaxConnectionDuration,
		AcceptHTTP10:          cfg.AcceptHTTP10, RejectUnderscores: cfg.RejectUnderscores,
		Secure: state != nil, Draining: &c.draining, Prefix: ahead, Refused: refused, Panicked: panicked,
	}, func(s *http1.ServerStream) { ch.http.Serve(s, info) })
}

// detect tells the codec of a connection: by ALPN, or by its first bytes.
func detect(c *conn, transport net.Conn, state *tls.ConnectionState, idle time.Duration) (config.Codec, net.Conn, error) {
	if state != nil && state.NegotiatedProtocol != "" {
		if state.NegotiatedProtocol == "h2" {
			return config.CodecHTTP2, transport, nil
		}
		return config.CodecHTTP1, transport, nil
	}
	deadline := time.Time{}
	if idle > 0 {
		deadline = time.Now().Add(idle)
	}
	c.setWaits(true)
	defer c.setWaits(false)
	is, peeked, err := listener.PeekPrefix(transport, deadline, http2.Preface)
	if err != nil || !is {
		return config.CodecHTTP1, peeked, err
	}
	return config.CodecHTTP2, peeked, nil
}
