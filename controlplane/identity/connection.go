package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// Authority makes the control plane's own certificate, and vouches for its clients.
type Authority interface {
	ServerCertificate() (*tls.Certificate, error)
	// Roots are those that vouch for clients: another pool whenever they change.
	Roots() *x509.CertPool
}

// AuthorityConfig is TLS with an authority of our own. Clients need no certificate yet: who has none can only join.
func AuthorityConfig(a Authority) *tls.Config {
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.ServerCertificate() },
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      a.Roots(),
		// A session that is resumed has the certificate of before.
		SessionTicketsDisabled: true,
	}
	var last atomic.Pointer[tls.Config] // for the roots of the last connection: they change once in years
	last.Store(config)
	first := config.Clone()
	first.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := last.Load()
		if roots := a.Roots(); roots != now.ClientCAs {
			now = now.Clone()
			now.ClientCAs = roots
			last.Store(now)
		}
		return now, nil
	}
	return first
}

// Bounds on a connection whose client has shown neither a certificate nor a token: it can join, and do no harm.
const (
	strangerBytes = 256 << 10
	strangerTime  = time.Minute
)

// Credentials are TLS credentials for a gRPC server, by which a connection ends when its client's certificate does: a
// stream lives for weeks, and a certificate that was not renewed must count for no longer than it says. Who has renewed
// it comes back with the new one. Where a client need not show one, who shows none may send little, and not for long.
//
// Who was revoked counts as a stranger. The guard knows the connections of proxies, for Disconnect; call it once.
func (g *Guard) Credentials(config *tls.Config) credentials.TransportCredentials {
	g.open = &connections{of: map[proxyName]map[*boundedConn]bool{}}
	b := bounded{TransportCredentials: credentials.NewTLS(config), guard: g}
	if config.ClientAuth == tls.VerifyClientCertIfGiven {
		b.strangers = &strangers{}
	}
	return b
}

type bounded struct {
	credentials.TransportCredentials
	guard     *Guard
	strangers *strangers // nil: none may come
}

// Clone is part of credentials.TransportCredentials.
func (b bounded) Clone() credentials.TransportCredentials {
	return bounded{b.TransportCredentials.Clone(), b.guard, b.strangers}
}

// info is what is known of a client, and its connection.
type info struct {
	credentials.TLSInfo
	conn *boundedConn
}

// ServerHandshake is part of credentials.TransportCredentials.
func (b bounded) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, auth, err := b.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	state, ok := auth.(credentials.TLSInfo)
	if !ok {
		return conn, auth, nil
	}
	// The raw connection: a close of TLS would wait for a peer that does not read.
	c := &boundedConn{Conn: conn, cut: func() { _ = raw.Close() }}
	end := func(in time.Duration) { c.timer = time.AfterFunc(in, c.cut) }
	switch chains := state.State.VerifiedChains; {
	case len(chains) > 0 && b.strangers != nil && b.guard.revoked(chains[0][0]) != nil:
		b.bound(c, raw, end)
	case len(chains) > 0:
		c.leave = b.guard.open.add(chains[0][0], b.guard.TrustDomain, c)
		until := chains[0][0].NotAfter
		for _, cert := range chains[0] {
			if cert.NotAfter.Before(until) {
				until = cert.NotAfter
			}
		}
		c.known.Store(true)
		end(time.Until(until))
	case b.strangers != nil:
		b.bound(c, raw, end)
	default:
		c.known.Store(true)
	}
	return c, info{state, c}, nil
}

func (b bounded) bound(c *boundedConn, raw net.Conn, end func(time.Duration)) {
	c.left = strangerBytes
	end(strangerTime)
	c.leave = b.strangers.add(raw.RemoteAddr(), c.cut)
}

type boundedConn struct {
	net.Conn
	cut   func()
	leave func()      // nil: nobody counts it
	timer *time.Timer // nil: it ends when it ends
	known atomic.Bool
	left  int          // only the goroutine that reads
	calls atomic.Int32 // of a stranger
}

var errStranger = errors.New("identity: a client without a certificate or a token sends too much")

// Read is part of net.Conn.
func (c *boundedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if !c.known.Load() {
		if c.left -= n; c.left < 0 {
			return 0, errStranger
		}
	}
	return n, err
}

// know lifts the bounds: the client has shown a token.
func (c *boundedConn) know() {
	if c.known.CompareAndSwap(false, true) {
		c.timer.Stop()
		c.leave()
	}
}

// call counts one of a stranger's calls. Who makes too many is cut off: gRPC holds what it has of each until it ends.
func (c *boundedConn) call() {
	if !c.known.Load() && c.calls.Add(1) > maxStrangerCalls {
		c.cut()
	}
}

// Close is part of net.Conn.
func (c *boundedConn) Close() error {
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.leave != nil {
		c.leave()
	}
	return c.Conn.Close()
}
