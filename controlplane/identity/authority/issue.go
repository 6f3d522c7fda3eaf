package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"time"
)

var (
	// fleetName is what the language takes for a name.
	fleetName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	// proxyID is what may stand in a SPIFFE ID's path; "." and ".." may not.
	// https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#22-path
	proxyID = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$`)
)

// Name is a proxy.
type Name struct{ Fleet, ID string }

// String is the name as people write it.
func (n Name) String() string { return n.Fleet + "/" + n.ID }

func (n Name) check() error {
	if !fleetName.MatchString(n.Fleet) {
		return fmt.Errorf("fleet: got %.64q, want a name of [a-z0-9-], of at most 63 characters", n.Fleet)
	}
	if !proxyID.MatchString(n.ID) {
		return fmt.Errorf("id: got %.128q, want [A-Za-z0-9._-], of at most 128 characters, and no dot at the beginning", n.ID)
	}
	return nil
}

// uri is the proxy's SPIFFE ID in a trust domain.
func (n Name) uri(domain string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: domain, Path: "/fleet/" + n.Fleet + "/proxy/" + n.ID}
}

// publicKey takes a PKCS #10 request for the key in it, of which the caller must have the private half. It asks for
// nothing else: who named himself in it would believe that it counts.
func publicKey(csr []byte) (crypto.PublicKey, error) {
	if len(csr) > 4096 {
		return nil, errors.New("csr: got more than 4096 bytes")
	}
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, errors.New("csr: got no PKCS #10 request in DER")
	}
	if err := request.CheckSignature(); err != nil {
		return nil, errors.New("csr: its signature is not by its key")
	}
	if len(request.DNSNames)+len(request.URIs)+len(request.IPAddresses)+len(request.EmailAddresses)+len(request.Extensions) > 0 ||
		request.Subject.String() != "" {
		return nil, errors.New("csr: got names or extensions, want none: they are those of the token, or of the certificate before")
	}
	key, ok := request.PublicKey.(*ecdsa.PublicKey)
	if !ok || (key.Curve != elliptic.P256() && key.Curve != elliptic.P384()) {
		return nil, errors.New("csr: want an ECDSA key, P-256 or P-384")
	}
	return key, nil
}

// issue gives a proxy a certificate, and its chain, PEM.
func (a *Authority) issue(n Name, key crypto.PublicKey) (chain []byte, leaf *x509.Certificate, err error) {
	by := a.current()
	leaf, err = a.sign(by, &x509.Certificate{
		URIs: []*url.URL{n.uri(a.opts.TrustDomain)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key)
	if err != nil {
		return nil, nil, err
	}
	return encode(append([]*x509.Certificate{leaf}, by.between...)), leaf, nil
}

// sign completes a template. The subject is empty: the names are the alternative ones, which are critical then (RFC 5280,
// 4.2.1.6).
func (a *Authority) sign(by *signing, template *x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	now := a.opts.Now()
	template.SerialNumber = serial()
	template.NotBefore = now.Add(-ClockSkew)
	template.NotAfter = now.Add(a.opts.Lifetime)
	if end := by.ends(); template.NotAfter.After(end) {
		template.NotAfter = end
	}
	if !template.NotAfter.After(now) {
		return nil, errors.New("authority: its own certificate has expired")
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, template, by.issuer, key, by.key)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return x509.ParseCertificate(der)
}

// serverCertificate is the control plane's own, in memory alone.
type serverCertificate struct {
	tls.Certificate
	renew time.Time
	by    *signing
}

// warnBefore is how long before its end an authority is complained of, at the start, and whenever the control plane's own
// certificate is made.
const warnBefore = 60 * 24 * time.Hour

// ServerCertificate is the control plane's own, made anew at half its life. Its chain has the root in it, other than
// usual: by that, who has a join token knows it.
func (a *Authority) ServerCertificate() (*tls.Certificate, error) {
	by := a.current()
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.opts.Now()
	if a.server != nil && a.server.by == by && now.Before(a.server.renew) {
		return &a.server.Certificate, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if end := by.ends(); end.Sub(now) < warnBefore {
		a.opts.Logger.Warn("the authority's certificate ends soon, and every proxy's with it: replace its key ('sluice ca rotate', or --ca-key)", "expires", end.UTC().Format(time.RFC3339))
	}
	dns, ips := a.names()
	leaf, err := a.sign(by, &x509.Certificate{
		DNSNames: dns, IPAddresses: ips, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		URIs: []*url.URL{{Scheme: "spiffe", Host: a.opts.TrustDomain, Path: "/controlplane"}},
	}, key.Public())
	if err != nil {
		return nil, err
	}
	chain := [][]byte{leaf.Raw}
	for _, c := range append(by.between[:len(by.between):len(by.between)], by.roots[0]) {
		chain = append(chain, c.Raw)
	}
	a.server = &serverCertificate{
		Certificate: tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf},
		renew:       now.Add(leaf.NotAfter.Sub(now) / 2),
		by:          by,
	}
	return &a.server.Certificate, nil
}
