package identity

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// Authority makes the control plane's own certificate, and vouches for its clients.
type Authority interface {
	ServerCertificate() (*tls.Certificate, error)
	Roots() *x509.CertPool
}

// AuthorityConfig is TLS with an authority of our own. Clients need no certificate yet: who has none can only join.
func AuthorityConfig(a Authority) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.ServerCertificate() },
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      a.Roots(),
		// A session that is resumed has the certificate of before.
		SessionTicketsDisabled: true,
	}
}

// Credentials are TLS credentials for a gRPC server, by which a connection ends when its client's certificate does: a
// stream lives for weeks, and a certificate that was not renewed must count for no longer than it says. Who has renewed
// it comes back with the new one.
func Credentials(config *tls.Config) credentials.TransportCredentials {
	return expiring{credentials.NewTLS(config)}
}

type expiring struct {
	credentials.TransportCredentials
}

// Clone is part of credentials.TransportCredentials.
func (e expiring) Clone() credentials.TransportCredentials {
	return expiring{e.TransportCredentials.Clone()}
}

// ServerHandshake is part of credentials.TransportCredentials.
func (e expiring) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := e.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	state, ok := info.(credentials.TLSInfo)
	if !ok || len(state.State.VerifiedChains) == 0 {
		return conn, info, nil
	}
	end := state.State.VerifiedChains[0][0].NotAfter
	for _, c := range state.State.VerifiedChains[0] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	// The raw connection: a close of TLS would wait for a peer that does not read.
	timer := time.AfterFunc(time.Until(end), func() { _ = raw.Close() })
	return &expiringConn{conn, timer}, info, nil
}

type expiringConn struct {
	net.Conn
	timer *time.Timer
}

// Close is part of net.Conn.
func (c *expiringConn) Close() error {
	c.timer.Stop()
	return c.Conn.Close()
}
