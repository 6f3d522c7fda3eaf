package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// sessions is how many TLS sessions are kept for a cluster's next connections, of each protocol.
const sessions = 64

// secure is how a cluster's endpoints are spoken to in TLS. Versions of the cluster share it as long as their settings are the
// same; what it shows and whom it trusts may change under it, and holds for connections that are made from then on.
type secure struct {
	config *config.UpstreamTLS
	// current is nil while something that config names is not there: no connection is made then.
	current atomic.Pointer[identity]
}

// identity is what the proxy shows, whom it trusts, and the tls.Configs that follow of them.
type identity struct {
	certificate *tls.Certificate
	trust       *certs.Trust
	http, tcp   *tls.Config
}

// secureFor is what a version of a cluster uses: old's, if the settings are the same; nil in plaintext.
func secureFor(cfg *config.Cluster, old *Client) *secure {
	if cfg.TLS == nil {
		return nil
	}
	if old != nil && old.secure != nil && old.Cluster.Config.HTTP2 == cfg.HTTP2 && reflect.DeepEqual(old.secure.config, cfg.TLS) {
		return old.secure
	}
	return &secure{config: cfg.TLS}
}

// SetTLS says what is shown to endpoints (nil is nothing) and whose certificates they may show (nil is any), for connections
// that are made from now on. It is for clusters with TLS. Until it is called, and while ready is false, no connection is made.
func (c *Client) SetTLS(ready bool, certificate *tls.Certificate, trust *certs.Trust) {
	s := c.secure
	if s == nil {
		return
	}
	if !ready {
		s.current.Store(nil)
		return
	}
	if old := s.current.Load(); old != nil && old.certificate == certificate && old.trust == trust {
		return // and its sessions
	}
	protocol := "http/1.1"
	if c.Cluster.Config.HTTP2 {
		protocol = "h2"
	}
	s.current.Store(&identity{
		certificate: certificate, trust: trust,
		http: s.make(certificate, trust, protocol), tcp: s.make(certificate, trust),
	})
}

// make is what connections of a kind begin with. Envoy, too, offers the cluster's own protocol where nothing else is said.
func (s *secure) make(certificate *tls.Certificate, trust *certs.Trust, protocols ...string) *tls.Config {
	if len(s.config.ALPN) > 0 {
		protocols = s.config.ALPN
	}
	cfg := certs.Client(s.config, certificate, trust)
	cfg.NextProtos = protocols
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
	return cfg
}

var errNoSecrets = errors.New("tls: the cluster's certificate or authorities are not there")

// use is what a connection is made for.
type use int

const (
	forHTTP1 use = iota
	forHTTP2
	forTCP
)

// handshake makes a connection secure. The deadline is for all of it; it is taken away at the end.
func (s *secure) handshake(ctx context.Context, conn net.Conn, deadline time.Time, what use) (net.Conn, error) {
	current := s.current.Load()
	if current == nil {
		return nil, errNoSecrets
	}
	cfg := current.http
	if what == forTCP {
		cfg = current.tcp
	}
	below := socket.Wrap(conn)
	if what == forHTTP1 {
		below = &records{Conn: below}
	}
	secured := tls.Client(below, cfg)
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	if r, ok := below.(*records); ok {
		return &secureConn{Conn: secured, below: r}, nil
	}
	return secured, nil
}
