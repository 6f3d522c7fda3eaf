// Package authority is the control plane's own certificate authority: it makes join tokens, and gives proxies
// certificates for them that name their fleet and id.
//
// In: a folder, requests for tokens and certificates. Out: tokens, of which it keeps the hashes alone; certificates that
// are good for a day; the control plane's own. A proxy's key is never here. It must not know what a certificate lets
// its holder do, nor who may make tokens: package identity does.
package authority

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
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
	opts  Options // read-only after Open
	joins *joins

	// Replaced as a whole, by who holds changing.
	signing  atomic.Pointer[signing]
	rotation atomic.Pointer[rotation] // nil: the key is not being replaced
	changing sync.Mutex
	again    time.Time // guarded by changing: a change that failed is not tried before

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
	secretfile.Sweep(o.Dir)
	var err error
	if a.joins, err = openJoins(filepath.Join(o.Dir, joinsFile), o.Now); err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	if err := a.load(); err != nil {
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
	signer, err := parseKey(text)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if text, err = os.ReadFile(certificate); err != nil {
		return err
	}
	all, err := parseCertificates(text)
	if err != nil {
		return fmt.Errorf("%s: %w", certificate, err)
	}
	var change *rotation
	if own {
		if change, all, err = a.loadRotation(signer, all); err != nil {
			return err
		}
	}
	now, err := arrange(signer, all, a.opts.TrustDomain)
	if err != nil {
		return fmt.Errorf("%s: %w", certificate, err)
	}
	if end := now.ends(); a.opts.Now().After(end) && (change == nil || a.opts.Now().Before(change.due())) {
		return fmt.Errorf("%s: it has expired, at %s", certificate, end.UTC().Format(time.RFC3339))
	}
	if !own { // who asks for the roots finds them in the same place
		if err := secretfile.Write(filepath.Join(a.opts.Dir, rootsFile), encode(now.roots)); err != nil {
			return err
		}
	}
	a.signing.Store(now)
	a.rotation.Store(change)
	return nil
}

// create makes a key and a root.
func (a *Authority) create(certificate, key string) error {
	keyText, root, err := a.makeRoot()
	if err != nil {
		return err
	}
	// The key first: a key without a certificate is found out above, and is no loss.
	if err := secretfile.Write(key, keyText); err != nil {
		return err
	}
	return secretfile.Write(certificate, encode([]*x509.Certificate{root}))
}

// Roots are those that vouch for the control plane and for proxies.
func (a *Authority) Roots() *x509.CertPool { return a.current().pool }

// fingerprint is what a join token tells of the root by which it knows the control plane.
func (a *Authority) fingerprint() [sha256.Size]byte { return sha256.Sum256(a.current().roots[0].Raw) }

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
