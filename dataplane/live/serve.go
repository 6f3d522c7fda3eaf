package live

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/socket"
	"github.com/sluice-proxy/sluice/dataplane/tcpproxy"
)

// defaultHandshakeTimeout is Envoy's for listener filters.
const defaultHandshakeTimeout = 15 * time.Second

// accepted begins the life of a connection: peek, choose a chain, handshake, speak.
func (l *running) accepted(raw net.Conn, resume func()) listener.Handler {
	c := &conn{Conn: raw, listener: l, step: (*conn).open, resume: resume, start: time.Now()}
	l.runtime.conns.add(c)
	return c
}

// open finds out what a connection is to be.
func (c *conn) open() (ended bool) {
	l := c.listener
	v := l.version.Load()
	timeout := v.config.HandshakeTimeout
	if timeout <= 0 {
		timeout = defaultHandshakeTimeout
	}
	deadline := c.start.Add(timeout)
	transport := c.Conn
	if mode := v.config.ProxyHeader; mode != config.ProxyHeaderNone {
		if transport = c.takeHeader(mode, deadline); transport == nil {
			return true
		}
	}
	if v.config.InspectTLS {
		hello, peeked, err := listener.PeekHello(transport, deadline)
		if err != nil {
			l.stats.PeekFailed.Add(1)
			return true
		}
		c.hello, transport = hello, peeked
	}
	ch := l.join(c)
	if ch == nil {
		l.stats.NoChain.Add(1)
		return true
	}
	if !ch.limit.Acquire() {
		// As with Envoy, before the handshake: a connection too many costs as little as can be.
		c.outcome = listener.Refused
		return true
	}
	c.limit = &ch.limit
	var state *tls.ConnectionState
	if ch.tls != nil {
		secure, err := handshake(transport, ch.tls.Config(), deadline)
		if err != nil {
			l.stats.HandshakeFailed.Add(1)
			if peer := (*certs.PeerError)(nil); errors.As(err, &peer) {
				l.stats.ClientRefused.Add(1)
			}
			return true
		}
		now := secure.ConnectionState()
		transport, state = secure, &now
	}
	if ch.tcp != nil {
		ch.serveTCP(c, transport, state, c.start)
		return true
	}
	return c.openHTTP(ch, transport, state)
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
		Peer: c.peer(), Direct: c.direct(), Local: c.local(), Socket: c.socketPath(),
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
