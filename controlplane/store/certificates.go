package store

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

const (
	// maxPEM is how large a certificate or key file may be, in bytes.
	maxPEM = 1 << 20
	// selfSignedFor is how long a certificate that we make is valid, and renewBefore how long before its end it is made anew.
	selfSignedFor = 365 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour
)

// Certificates hold the last good bytes of each Certificate, so that a bad file does not take a running listener's
// certificate away, and the certificates that we make ourselves. Safe for concurrent use.
type Certificates struct {
	now func() time.Time

	// Guarded by mu.
	mu    sync.Mutex
	good  map[string]certificate // by name
	dirty bool                   // good differs from what is on disk
}

// certificate is kept on disk as it is.
type certificate struct {
	Chain []byte `json:"chain"`
	Key   []byte `json:"key"`
	// Hosts are those of a certificate that we made.
	Hosts []string `json:"hosts,omitempty"`
	// Authorities are a TrustBundle's, whose name is "TrustBundle/" and its own; the rest is empty.
	Authorities []byte `json:"authorities,omitempty"`
}

// NewCertificates is for who needs the bytes but keeps no state, such as a check of files.
func NewCertificates() *Certificates { return newCertificates(time.Now) }

func newCertificates(now func() time.Time) *Certificates {
	return &Certificates{now: now, good: map[string]certificate{}}
}

// Reader resolves Certificate documents for compile.Input: it reads each document's files once, so that one build sees
// one state of them.
func (c *Certificates) Reader() func(d *definition.Document) (chain, key []byte, err error) {
	type answer struct {
		chain, key []byte
		err        error
	}
	var mu sync.Mutex
	known := map[*definition.Document]answer{}
	return func(d *definition.Document) ([]byte, []byte, error) {
		mu.Lock()
		defer mu.Unlock()
		a, ok := known[d]
		if !ok {
			a.chain, a.key, a.err = c.resolve(d)
			known[d] = a
		}
		return a.chain, a.key, a.err
	}
}

// resolve gets the bytes. Where they are bad, the last good ones come with the error.
func (c *Certificates) resolve(d *definition.Document) (chain, key []byte, err error) {
	if _, ok := d.Message.(*sluicev1.TrustBundle); ok {
		text, err := c.authorities(d)
		return text, nil, err
	}
	m, ok := d.Message.(*sluicev1.Certificate)
	if !ok {
		return nil, nil, fmt.Errorf("store: got %s, want a Certificate", d.Ref)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	old, had := c.good[d.Ref.Name]
	var now certificate
	if m.GetFiles() != nil {
		now, err = readCertificate(d)
	} else {
		now, err = old, nil
		if hosts := definition.WithDefaults(m).GetSelfSigned().GetHosts(); !had || !slices.Equal(old.Hosts, hosts) || c.aged(old) {
			now, err = c.make(hosts)
		}
	}
	if err != nil {
		return old.Chain, old.Key, err
	}
	if !had || !bytes.Equal(old.Chain, now.Chain) || !bytes.Equal(old.Key, now.Key) || !slices.Equal(old.Hosts, now.Hosts) {
		c.good[d.Ref.Name] = now
		c.dirty = true
	}
	return now.Chain, now.Key, nil
}

// keepOnly forgets the files of certificates that are gone. What we made is kept: a browser may have been told to trust it.
func (c *Certificates) keepOnly(keep func(name string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, cert := range c.good {
		if len(cert.Hosts) == 0 && !keep(name) {
			delete(c.good, name)
			c.dirty = true
		}
	}
}

// certificateFiles are the files that a document refers to.
func certificateFiles(d *definition.Document) []string {
	if t, ok := d.Message.(*sluicev1.TrustBundle); ok {
		var files []string
		for _, path := range t.GetFiles() {
			files = append(files, relative(d, path))
		}
		return files
	}
	m, ok := d.Message.(*sluicev1.Certificate)
	if !ok || m.GetFiles() == nil {
		return nil
	}
	return []string{relative(d, m.GetFiles().GetCertificate()), relative(d, m.GetFiles().GetPrivateKey())}
}

func relative(d *definition.Document, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(d.Dir, path)
}

func readCertificate(d *definition.Document) (certificate, error) {
	var cert certificate
	files := certificateFiles(d)
	for i, field := range []string{"files.certificate", "files.privateKey"} {
		data, err := readPEM(files[i])
		if err != nil {
			return cert, &compile.CertificateError{Code: definition.CodeMissingFile, Field: field, Err: err}
		}
		if i == 0 {
			cert.Chain = data
		} else {
			cert.Key = data
		}
	}
	if _, err := compile.CheckCertificate(cert.Chain, cert.Key); err != nil {
		return certificate{}, err
	}
	return cert, nil
}

func readPEM(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			return nil, fmt.Errorf("got %s, which cannot be read: %w", path, pe.Err)
		}
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("got %s, which is no regular file, want a PEM file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("got %s, which cannot be read: %w", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, fmt.Errorf("got %s, which cannot be read: %w", path, err)
	}
	if len(data) > maxPEM {
		return nil, fmt.Errorf("got %s of more than %d bytes, want a PEM file", path, maxPEM)
	}
	return data, nil
}

// aged: it is time for a new one.
func (c *Certificates) aged(cert certificate) bool {
	leaf, err := compile.CheckCertificate(cert.Chain, cert.Key)
	return err != nil || c.now().After(leaf.NotAfter.Add(-renewBefore))
}

// make makes a self-signed certificate: ECDSA on P-256, for a year. One for localhost is for the loopback addresses too.
func (c *Certificates) make(hosts []string) (certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Sluice development certificate"}},
		NotBefore:    c.now().Add(-time.Hour), // clocks differ
		NotAfter:     c.now().Add(selfSignedFor),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, host)
		if host == "localhost" {
			template.IPAddresses = append(template.IPAddresses, net.IPv4(127, 0, 0, 1), net.IPv6loopback)
		}
	}
	if len(hosts[0]) <= 64 { // RFC 5280, appendix A.1: ub-common-name
		template.Subject.CommonName = hosts[0]
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return certificate{}, &compile.CertificateError{Code: definition.CodeBadCertificate, Field: "selfSigned.hosts", Err: err}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return certificate{}, err
	}
	return certificate{
		Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		Hosts: slices.Clone(hosts),
	}, nil
}
