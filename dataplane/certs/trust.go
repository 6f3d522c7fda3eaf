package certs

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Trust judges certificates of peers. Read-only.
type Trust struct {
	pool  *x509.CertPool
	names []config.AltName
	// digest is of all that decides: what was proven to another Trust counts for nothing here.
	digest [sha256.Size]byte
}

// NewTrust joins what stands in a resource with what a secret says, as Envoy does; either may be nil. An error tells what is
// wrong with which certificate.
func NewTrust(own, secret *config.Validation) (*Trust, error) {
	t := &Trust{pool: x509.NewCertPool()}
	var text []byte
	for _, v := range []*config.Validation{own, secret} {
		if v == nil {
			continue
		}
		if len(v.Authorities) > 0 {
			text = v.Authorities
		}
		t.names = append(t.names, v.Names...)
	}
	authorities, err := ParseAuthorities(text)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	hash := sha256.New()
	for _, a := range authorities {
		t.pool.AddCert(a)
		hash.Write(a.Raw)
	}
	for _, n := range t.names {
		fmt.Fprintf(hash, "%d %d %q", n.Kind, n.Text.Kind, n.Value)
	}
	hash.Sum(t.digest[:0])
	return t, nil
}

// ParseAuthorities reads certificates in PEM: at least one.
func ParseAuthorities(text []byte) ([]*x509.Certificate, error) {
	all, err := parseCertificates(text)
	if err != nil {
		return nil, fmt.Errorf("authorities: %w", err)
	}
	return all, nil
}

// PeerError is why a peer's certificate is not taken.
type PeerError struct{ Err error }

// Error is the cause's text.
func (e *PeerError) Error() string { return "certs: the peer's certificate: " + e.Err.Error() }

// Unwrap is the cause.
func (e *PeerError) Unwrap() error { return e.Err }

// verify judges a chain as it was shown, for what the peer is to be. Errors are *PeerError.
func (t *Trust) verify(shown []*x509.Certificate, usage x509.ExtKeyUsage) error {
	if len(shown) == 0 {
		return &PeerError{errors.New("none was shown")}
	}
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err := shown[0].Verify(x509.VerifyOptions{Roots: t.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return &PeerError{err}
	}
	if len(t.names) > 0 && !slices.ContainsFunc(t.names, func(n config.AltName) bool { return isFor(shown[0], n) }) {
		return &PeerError{errors.New("it is for none of the names that are wanted")}
	}
	return nil
}

// isFor tells whether a certificate is for a name. The common name does not count.
func isFor(leaf *x509.Certificate, n config.AltName) bool {
	switch n.Kind {
	case config.AltDNS:
		return slices.ContainsFunc(leaf.DNSNames, func(name string) bool {
			if n.Text.Kind == config.TextExact {
				return covers(strings.ToLower(name), strings.ToLower(n.Value))
			}
			return fits(n.Text, name)
		})
	case config.AltURI:
		return slices.ContainsFunc(uris(leaf), func(u string) bool { return fits(n.Text, u) })
	case config.AltEmail:
		return slices.ContainsFunc(leaf.EmailAddresses, func(e string) bool { return fits(n.Text, e) })
	case config.AltIP:
		for _, ip := range leaf.IPAddresses {
			if fits(n.Text, ip.String()) {
				return true
			}
		}
	}
	return false
}

func fits(t config.Text, value string) bool {
	switch t.Kind {
	case config.TextPrefix:
		return strings.HasPrefix(value, t.Value)
	case config.TextSuffix:
		return strings.HasSuffix(value, t.Value)
	case config.TextContains:
		return strings.Contains(value, t.Value)
	case config.TextRegex:
		return t.Regex.MatchString(value)
	}
	return value == t.Value
}

// covers: a wildcard stands for one label (RFC 6125, 6.4.3).
func covers(pattern, name string) bool {
	if pattern == name {
		return true
	}
	suffix, wild := strings.CutPrefix(pattern, "*.")
	label, rest, ok := strings.Cut(name, ".")
	return wild && ok && label != "" && rest == suffix
}

// clients makes a server ask clients for their certificates.
func (t *Trust) clients(cfg *tls.Config, optional bool) {
	cfg.ClientCAs = t.pool // told to the client, for its choice
	cfg.ClientAuth = tls.RequireAnyClientCert
	if optional {
		cfg.ClientAuth = tls.RequestClientCert
	}
	// It runs for sessions that are resumed, too: their certificates must be good now.
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 && optional {
			return nil
		}
		return t.verify(state.PeerCertificates, x509.ExtKeyUsageClientAuth)
	}
}

// Client is what a connection to an endpoint begins with: whom it takes, and what it shows, which may be nil. trust may be nil only if
// cfg.Trust is: then it takes anybody.
func Client(cfg *config.UpstreamTLS, certificate *tls.Certificate, trust *Trust) *tls.Config {
	out := &tls.Config{
		ServerName: cfg.ServerName,
		MinVersion: cmp.Or(cfg.MinVersion, tls.VersionTLS12), MaxVersion: cmp.Or(cfg.MaxVersion, tls.VersionTLS12),
		CurvePreferences: keyExchanges,
		// VerifyConnection judges, also sessions that are resumed: the names that are wanted need not be the SNI.
		InsecureSkipVerify:          true,
		DynamicRecordSizingDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if certificate == nil {
				return &tls.Certificate{}, nil
			}
			// Whatever authorities the endpoint names: as Envoy.
			return certificate, nil
		},
	}
	if trust != nil || cfg.Trust != nil {
		out.VerifyConnection = func(state tls.ConnectionState) error {
			if trust == nil {
				return &PeerError{errors.New("no authority is known")}
			}
			return trust.verify(state.PeerCertificates, x509.ExtKeyUsageServerAuth)
		}
	}
	return out
}
