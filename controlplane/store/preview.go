package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"log/slog"
	"maps"
	"math/big"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// Material is what the files of a Certificate or a TrustBundle hold, as somebody else sees them: no private key.
type Material struct {
	// Chain is PEM: a Certificate's, or a TrustBundle's authorities.
	Chain []byte
	// KeySum is KeySum of the private key.
	KeySum string
	// Err is why they cannot be read or used.
	Err *compile.CertificateError
}

// KeySum is a hash by which a private key is known to be the same, and which says nothing of it otherwise.
func KeySum(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// Preview is a store that knows what another one does, and keeps nothing: what Update would come to, and more.
type Preview struct {
	store *Store
	read  func(*definition.Document) (chain, key []byte, err error)
	// Other are the Certificates that would be presented in place of those that are. Their keys are hidden: only that they
	// are others is known, so that resources with them can be compared but not used.
	Other map[string]ir.Certificate
	// Taken are the documents whose material is not known and that have the served one.
	Taken []definition.Ref
}

// Preview makes one. No file is opened: materials says what Certificates and TrustBundles hold. spell names a file of what is
// served as the sets do.
func (s *Store) Preview(materials map[definition.Ref]Material, spell func(file string) string) *Preview {
	p := &Preview{store: s.copy(spell), Other: map[string]ir.Certificate{}}
	p.read = (&materialReader{certs: p.store.certs, materials: materials, preview: p}).read
	return p
}

// PreviewOwn is Preview for documents that are this control plane's: the files that they name are read.
func (s *Store) PreviewOwn() *Preview {
	p := &Preview{store: s.copy(func(file string) string { return file })}
	p.read = p.store.certs.Reader()
	return p
}

// Update says what would be served if the files held set.
func (p *Preview) Update(set Set) *Result { return p.store.update(set, p.read) }

// Accepted are the last good versions by then.
func (p *Preview) Accepted() map[definition.Ref]*definition.Document { return p.store.Accepted() }

// copy is another store that knows the same, and keeps nothing.
func (s *Store) copy(spell func(file string) string) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	other := &Store{
		now: s.now, log: slog.New(slog.DiscardHandler), certs: s.certs.copy(), accepted: map[definition.Ref]*definition.Document{},
		partial: maps.Clone(s.partial), sockets: maps.Clone(s.sockets), tickets: map[string]*tickets{}, answers: map[string][]byte{},
	}
	for ref, d := range s.accepted {
		renamed := *d
		renamed.Position.File = spell(d.Position.File)
		other.accepted[ref] = &renamed
	}
	return other
}

// copy is another one that knows the same.
func (c *Certificates) copy() *Certificates {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Certificates{now: c.now, good: maps.Clone(c.good)}
}

// materialReader answers compile from what it was told.
type materialReader struct {
	certs     *Certificates
	materials map[definition.Ref]Material
	preview   *Preview
	known     map[definition.Ref]certificate // placeholders, made once
}

func (r *materialReader) read(d *definition.Document) (chain, key []byte, err error) {
	m, told := r.materials[d.Ref]
	_, bundle := d.Message.(*sluicev1.TrustBundle)
	if c, ok := d.Message.(*sluicev1.Certificate); ok && c.GetFiles() == nil {
		return r.certs.resolve(d) // one that is made
	}
	name := d.Ref.Name
	if bundle {
		name = trustPrefix + name
	}
	served, had := r.certs.good[name]
	if !told || m.Err != nil {
		if !had {
			if m.Err == nil {
				m.Err = &compile.CertificateError{Code: definition.CodeMissingFile, Err: errors.New("got no word of what its files hold")}
			}
			return nil, nil, m.Err
		}
		r.take(d.Ref)
		if bundle {
			return served.Authorities, nil, nil
		}
		return served.Chain, served.Key, nil
	}
	if bundle {
		return m.Chain, nil, nil // compile looks at it
	}
	if had && string(served.Chain) == string(m.Chain) && KeySum(served.Key) == m.KeySum {
		return served.Chain, served.Key, nil
	}
	stand, err := r.placeholder(d.Ref, m)
	if err != nil {
		return served.Chain, served.Key, err
	}
	r.preview.Other[name] = ir.Certificate{Name: name, Chain: m.Chain, Key: ir.Secret("sha256:" + m.KeySum)}
	return stand.Chain, stand.Key, nil
}

func (r *materialReader) take(ref definition.Ref) {
	for _, known := range r.preview.Taken {
		if known == ref {
			return
		}
	}
	r.preview.Taken = append(r.preview.Taken, ref)
}

// placeholder is a pair that compile takes, with the names and times of a chain whose key is elsewhere.
func (r *materialReader) placeholder(ref definition.Ref, m Material) (certificate, error) {
	if c, ok := r.known[ref]; ok {
		return c, nil
	}
	bad := func(err error) (certificate, error) {
		return certificate{}, &compile.CertificateError{Code: definition.CodeBadCertificate, Field: "files.certificate", Err: err}
	}
	block, _ := pem.Decode(m.Chain)
	if block == nil {
		return bad(errors.New("got no PEM block CERTIFICATE"))
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return bad(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return bad(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: leaf.Subject, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter,
		DNSNames: leaf.DNSNames, IPAddresses: leaf.IPAddresses,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return bad(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return bad(err)
	}
	c := certificate{
		Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:   pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
	if r.known == nil {
		r.known = map[definition.Ref]certificate{}
	}
	r.known[ref] = c
	return c, nil
}
