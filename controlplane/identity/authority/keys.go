package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"time"
)

// signing is a key, and what it signs by. It is not changed.
type signing struct {
	key *ecdsa.PrivateKey
	// issuer is the key's certificate. between are it and those up to its root; none where it is the root.
	issuer  *x509.Certificate
	between []*x509.Certificate
	// roots are all that are trusted; the first is the issuer's. pool has them.
	roots []*x509.Certificate
	pool  *x509.CertPool
}

// arrange tells the signer's chain from the roots: the first certificate is the signer's, each that follows has signed
// the one before it up to a root; further roots are trusted too, for a change of the key.
func arrange(key *ecdsa.PrivateKey, all []*x509.Certificate, domain string) (*signing, error) {
	if !isOf(all[0], key) {
		return nil, errors.New("the first certificate is not the key's")
	}
	for _, c := range all {
		if !c.IsCA || (c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0) {
			return nil, fmt.Errorf("the certificate of %q is no authority's", c.Subject)
		}
		for _, u := range c.URIs {
			if u.Scheme == "spiffe" && u.Host != domain {
				return nil, fmt.Errorf("the certificate of %q is for the trust domain %s, want %s", c.Subject, u.Host, domain)
			}
		}
	}
	s := &signing{key: key, issuer: all[0], pool: x509.NewCertPool()}
	rest := all
	for !selfSigned(rest[0]) {
		if len(rest) == 1 || rest[0].CheckSignatureFrom(rest[1]) != nil {
			return nil, fmt.Errorf("the certificate of %q is not followed by the one that signed it: want the chain up to its root", rest[0].Subject)
		}
		s.between, rest = append(s.between, rest[0]), rest[1:]
	}
	for _, c := range rest {
		if !selfSigned(c) {
			return nil, fmt.Errorf("the certificate of %q is no root, and nobody's before it", c.Subject)
		}
		s.pool.AddCert(c)
	}
	s.roots = rest
	return s, nil
}

func isOf(c *x509.Certificate, key *ecdsa.PrivateKey) bool {
	public, ok := c.PublicKey.(*ecdsa.PublicKey)
	return ok && public.Equal(key.Public())
}

func selfSigned(c *x509.Certificate) bool { return c.CheckSignatureFrom(c) == nil }

// ends is when the first certificate on the way to the root expires.
func (s *signing) ends() time.Time {
	end := s.roots[0].NotAfter
	for _, c := range s.between {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// makeRoot makes a key, PEM, and a root.
func (a *Authority) makeRoot() (key []byte, root *x509.Certificate, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := a.opts.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		Subject:  pkix.Name{CommonName: "Sluice " + now.UTC().Format("2006-01-02 15:04")},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:     []*url.URL{{Scheme: "spiffe", Host: a.opts.TrustDomain}},
		// A day back: its beginning counts for whoever joins right now with a late clock.
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(rootLifetime),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	root, err = x509.ParseCertificate(der)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), root, err
}

// serial is random, of 127 bits: RFC 5280 wants it positive and of at most 20 bytes.
func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:])
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	const want = "want an ECDSA key in PEM (P-256 or P-384)"
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("got no PEM, " + want)
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("got a %s, %s", strings.ToLower(block.Type), want)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("got a %T, %s", key, want)
	}
	return private, nil
}

func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("got a %s, want certificates", strings.ToLower(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("got no certificate, want PEM")
	}
	return all, nil
}

func encode(all []*x509.Certificate) []byte {
	var text []byte
	for _, c := range all {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text
}
