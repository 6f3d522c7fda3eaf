package identity

import (
	"crypto/x509"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// proxyName is who a certificate says that a proxy is.
type proxyName struct{ fleet, id string }

// proxyOf is the proxy of a certificate.
func proxyOf(leaf *x509.Certificate, domain string) (n proxyName, ok bool) {
	for _, uri := range leaf.URIs {
		if rest, ok := strings.CutPrefix(spiffe(uri, domain), "/fleet/"); ok {
			if fleet, id, ok := strings.Cut(rest, "/proxy/"); ok {
				return proxyName{fleet, id}, true
			}
		}
	}
	return proxyName{}, false
}

func serialOf(leaf *x509.Certificate) string { return leaf.SerialNumber.Text(16) }

// revoked is an error if a certificate is of a proxy that was revoked.
func (g *Guard) revoked(leaf *x509.Certificate) error {
	if g.Revoked == nil {
		return nil
	}
	if n, ok := proxyOf(leaf, g.TrustDomain); ok && g.Revoked(n.fleet, n.id, serialOf(leaf)) {
		return status.Errorf(codes.PermissionDenied, "the certificate of proxy %s of fleet %s was revoked: want another join token ('sluice token create --fleet %s --id %s')", n.id, n.fleet, n.fleet, n.id)
	}
	return nil
}

// Disconnect ends the connections of a proxy, and says how many. Who is to stay away must be refused already: a connection is
// known here before anything is asked by it, so none slips through in between.
func (g *Guard) Disconnect(fleet, id string) int {
	if g.open == nil {
		return 0
	}
	return g.open.end(proxyName{fleet, id})
}

// connections are those of proxies.
type connections struct {
	mu sync.Mutex
	of map[proxyName]map[*boundedConn]bool // guarded by mu
}

// add takes a connection up until leave is called; nil is nothing to call, for who is no proxy.
func (c *connections) add(leaf *x509.Certificate, domain string, conn *boundedConn) (leave func()) {
	n, ok := proxyOf(leaf, domain)
	if !ok {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[n] == nil {
		c.of[n] = map[*boundedConn]bool{}
	}
	c.of[n][conn] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if delete(c.of[n], conn); len(c.of[n]) == 0 {
			delete(c.of, n)
		}
	}
}

func (c *connections) end(n proxyName) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.of[n] {
		conn.cut()
	}
	return len(c.of[n])
}
