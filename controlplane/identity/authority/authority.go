// Package authority is the control plane's own certificate authority: it makes join tokens, and gives proxies
// certificates for them that name their fleet and id.
//
// In: a folder, requests for tokens and certificates. Out: tokens, of which it keeps the hashes alone; certificates that
// are good for a day; the control plane's own. A proxy's key is never here. It must not know what a certificate lets
// its holder do, nor who may make tokens: package identity does.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/identity/secretfile"
)

// Options of an Authority.
type Options struct {
	// Dir keeps the key, the roots, and the tokens' hashes. Required.
	Dir string
	// TrustDomain is the host of every SPIFFE ID. Required.
	TrustDomain string
	// Certificate and Key are PEM files of an authority that exists already: its certificate, what is between it and its
	// root, and the root; and its key. Empty: one is made, and kept in Dir.
	Certificate, Key string
	// Lifetime is how long certificates are good. 0 is a day.
	Lifetime time.Duration
	// Names are DNS names and IP addresses of the control plane, for its own certificate.
	Names []string
	// Disconnect ends the connections of a proxy that was revoked, and says how many. Nil: nobody can.
	Disconnect func(fleet, id string) int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Logger is told who joins. Nil is slog.Default.
	Logger *slog.Logger
}

const (
	// ClockSkew is how far a certificate's beginning is put back, so that whose clock is late takes it too.
	ClockSkew = 10 * time.Minute

	defaultLifetime = 24 * time.Hour
	rootLifetime    = 10 * 365 * 24 * time.Hour
	minLifetime     = time.Second
	maxLifetime     = 90 * 24 * time.Hour
)

// The files in Options.Dir.
const (
	rootsFile = "ca.crt"
	keyFile   = "ca.key"
	joinsFile = "joins.json"
	// revokedFile is a file of its own: a control plane of an older build would write joins.json without it.
	revokedFile = "revoked.json"
)

// Bounds on what is read of them, in bytes.
const (
	maxPEM   = 1 << 20
	maxJoins = 256 << 20
)

// Authority issues. Its methods may be called concurrently.
type Authority struct {
	// Read-only after Open.
	opts   Options
	signer *ecdsa.PrivateKey
	// issuer is the signer's certificate. between are it and those up to its root; none where it is the root.
	issuer  *x509.Certificate
	between []*x509.Certificate
	// roots are all that are trusted; the first is the issuer's.
	roots []*x509.Certificate

	joins *joins

	mu     sync.Mutex
	server *serverCertificate // guarded by mu
}

var domain = regexp.MustCompile(`^[a-z0-9._-]{1,255}$`)

// Open reads the folder, and makes what is missing in it.
func Open(o Options) (*Authority, error) {
	if !domain.MatchString(o.TrustDomain) {
		return nil, fmt.Errorf("authority: trust domain: got %q, want a name like example.org: lower-case letters, digits, dots and dashes", o.TrustDomain)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Lifetime == 0 {
		o.Lifetime = defaultLifetime
	}
	if o.Lifetime < minLifetime || o.Lifetime > maxLifetime {
		return nil, fmt.Errorf("authority: certificates' lifetime: got %v, want %v to %v", o.Lifetime, minLifetime, maxLifetime)
	}
	if (o.Certificate == "") != (o.Key == "") {
		return nil, errors.New("authority: certificate and key: got one, want both or neither")
	}
	a := &Authority{opts: o}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if err := a.load(); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	var err error
	if a.joins, err = openJoins(filepath.Join(o.Dir, joinsFile), o.Now); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return a, nil
}

// load reads the key and the certificates, or makes them at the first start.
func (a *Authority) load() error {
	certificate, key := a.opts.Certificate, a.opts.Key
	own := certificate == ""
	if own {
		certificate, key = filepath.Join(a.opts.Dir, rootsFile), filepath.Join(a.opts.Dir, keyFile)
		_, noKey := os.Stat(key)
		_, noRoots := os.Stat(certificate)
		switch {
		case errors.Is(noKey, fs.ErrNotExist) && errors.Is(noRoots, fs.ErrNotExist):
			if err := a.create(certificate, key); err != nil {
				return err
			}
		case errors.Is(noKey, fs.ErrNotExist):
			// Another key would make every certificate of the fleet worthless without a word.
			return fmt.Errorf("%s is there, and %s is not: put it back, or remove both to begin anew, and let every proxy join again", certificate, key)
		}
	}
	text, err := secretfile.Read(key, maxPEM)
	if err != nil {
		return err
	}
	if a.signer, err = parseKey(text); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if text, err = os.ReadFile(certificate); err != nil {
		return err
	}
	all, err := parseCertificates(text)
	if err != nil {
		return fmt.Errorf("%s: %w", certificate, err)
	}
	if err := a.arrange(all); err != nil {
		return fmt.Errorf("%s: %w", certificate, err)
	}
	if !own { // who asks for the roots finds them in the same place
		return secretfile.Write(filepath.Join(a.opts.Dir, rootsFile), encode(a.roots))
	}
	return nil
}

// arrange tells the signer's chain from the roots: the first certificate is the signer's, each that follows has signed
// the one before it up to a root; further roots are trusted too, for a change of the key.
func (a *Authority) arrange(all []*x509.Certificate) error {
	if public, ok := all[0].PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(a.signer.Public()) {
		return errors.New("the first certificate is not the key's")
	}
	for _, c := range all {
		if !c.IsCA || (c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0) {
			return fmt.Errorf("the certificate of %q is no authority's", c.Subject)
		}
		for _, u := range c.URIs {
			if u.Scheme == "spiffe" && u.Host != a.opts.TrustDomain {
				return fmt.Errorf("the certificate of %q is for the trust domain %s, want %s", c.Subject, u.Host, a.opts.TrustDomain)
			}
		}
	}
	rest := all
	for !selfSigned(rest[0]) {
		if len(rest) == 1 || rest[0].CheckSignatureFrom(rest[1]) != nil {
			return fmt.Errorf("the certificate of %q is not followed by the one that signed it: want the chain up to its root", rest[0].Subject)
		}
		a.between, rest = append(a.between, rest[0]), rest[1:]
	}
	for _, c := range rest {
		if !selfSigned(c) {
			return fmt.Errorf("the certificate of %q is no root, and nobody's before it", c.Subject)
		}
	}
	a.issuer, a.roots = all[0], rest
	if end := a.ends(); a.opts.Now().After(end) {
		return fmt.Errorf("it has expired, at %s", end.UTC().Format(time.RFC3339))
	}
	return nil
}

// ends is when the first certificate on the way to the root expires.
func (a *Authority) ends() time.Time {
	end := a.roots[0].NotAfter
	for _, c := range a.between {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

func selfSigned(c *x509.Certificate) bool { return c.CheckSignatureFrom(c) == nil }

// create makes a key and a root.
func (a *Authority) create(certificate, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
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
		return err
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	// The key first: a key without a certificate is found out above, and is no loss.
	if err := secretfile.Write(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})); err != nil {
		return err
	}
	return secretfile.Write(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Roots are those that vouch for the control plane and for proxies.
func (a *Authority) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range a.roots {
		pool.AddCert(c)
	}
	return pool
}

// fingerprint is what a join token tells of the root by which it knows the control plane.
func (a *Authority) fingerprint() [sha256.Size]byte { return sha256.Sum256(a.roots[0].Raw) }

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

// Where says where the roots are, for people.
func (a *Authority) Where() string { return filepath.Join(a.opts.Dir, rootsFile) }

// Fingerprint is that of the root, for people.
func (a *Authority) Fingerprint() string {
	f := a.fingerprint()
	return hex.EncodeToString(f[:])
}

// names sorts the control plane's names into DNS names and addresses.
func (a *Authority) names() (dns []string, ips []net.IP) {
	for _, n := range a.opts.Names {
		if ip := net.ParseIP(n); ip != nil {
			ips = append(ips, ip)
		} else {
			dns = append(dns, n)
		}
	}
	return dns, ips
}
