package compile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// CertificateError is why a Certificate cannot be presented.
type CertificateError struct {
	// Code is one of definition's SL04xx.
	Code string
	// Field is the one at fault, such as files.privateKey.
	Field string
	Err   error
}

// Error is the cause's text.
func (e *CertificateError) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *CertificateError) Unwrap() error { return e.Err }

type certificate struct {
	doc  *definition.Document
	msg  *sluicev1.Certificate // with defaults
	ir   ir.Certificate
	leaf *x509.Certificate
	// names are the hosts that it covers, in its own order.
	names []string
}

// resolveCertificates gets the bytes. A Certificate that cannot be presented is left out.
func (c *compiler) resolveCertificates() {
	for _, name := range sortedKeys(c.certs) {
		if !c.certificate(c.certs[name]) {
			c.hold(c.certs[name].doc)
			delete(c.certs, name)
		}
	}
}

func (c *compiler) certificate(cert *certificate) bool {
	d := cert.doc
	for i, host := range cert.msg.GetSelfSigned().GetHosts() {
		if host == anyHost {
			c.errorf(d, fmt.Sprintf("selfSigned.hosts[%d]", i), definition.CodeBadCertificate, "got *, want hosts such as localhost or *.localhost: no certificate covers every host")
			return false
		}
	}
	if c.in.Certificates == nil {
		c.errorf(d, "", definition.CodeMissingFile, "nothing reads certificates here")
		return false
	}
	chain, key, err := c.in.Certificates(d)
	if err != nil {
		var ce *CertificateError
		if !errors.As(err, &ce) {
			ce = &CertificateError{Code: definition.CodeMissingFile, Err: err}
		}
		c.errorf(d, ce.Field, ce.Code, "%s", ce.Err)
		if len(chain) == 0 {
			return false
		}
	}
	leaf, bad := CheckCertificate(chain, key)
	if bad != nil {
		c.errorf(d, bad.Field, bad.Code, "%s", bad.Err)
		return false
	}
	cert.leaf = leaf
	cert.names = certificateNames(leaf)
	cert.ir = ir.Certificate{Name: d.Ref.Name, Chain: chain, Key: key}
	switch {
	case c.in.Now.After(leaf.NotAfter):
		c.warnf(d, "files.certificate", definition.CodeCertificateExpired, "the certificate expired at %s", leaf.NotAfter.UTC().Format("2006-01-02 15:04:05 MST"))
	case c.in.Now.Before(leaf.NotBefore):
		c.warnf(d, "files.certificate", definition.CodeCertificateExpired, "the certificate is not valid before %s", leaf.NotBefore.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	return true
}

// CheckCertificate parses PEM as a proxy would and returns the leaf. The key must belong to it and not be encrypted.
func CheckCertificate(chain, key []byte) (*x509.Certificate, *CertificateError) {
	bad := func(code, field, format string, args ...any) (*x509.Certificate, *CertificateError) {
		return nil, &CertificateError{Code: code, Field: field, Err: fmt.Errorf(format, args...)}
	}
	const certField, keyField = "files.certificate", "files.privateKey"
	var leaf *x509.Certificate
	blocks := 0
	for n, rest := 1, chain; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks++
		if block.Type != "CERTIFICATE" {
			if strings.HasSuffix(block.Type, "PRIVATE KEY") {
				return bad(definition.CodeBadCertificate, certField, "got a private key, want certificates alone: the key goes in files.privateKey")
			}
			if strings.HasSuffix(block.Type, " CERTIFICATE") { // Envoy reads them, and the Go proxy does not
				return bad(definition.CodeBadCertificate, certField, "got a PEM block %s, want CERTIFICATE", block.Type)
			}
			continue
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return bad(definition.CodeBadCertificate, certField, "certificate %d of the file: %v", n, err)
		}
		if leaf == nil {
			leaf = parsed
		}
		n++
	}
	if bytes.Count(chain, []byte("-----BEGIN ")) > blocks { // the decoder passes them by, Envoy does not
		return bad(definition.CodeBadCertificate, certField, "got a PEM block that is cut short or damaged, want all of them whole")
	}
	if leaf == nil {
		return bad(definition.CodeBadCertificate, certField, "got no PEM block CERTIFICATE, want the certificate, followed by its intermediates")
	}
	if problem := checkStrength(leaf); problem != "" {
		return bad(definition.CodeBadCertificate, certField, "%s", problem)
	}
	if problem := checkKey(key); problem != "" {
		return bad(definition.CodeBadCertificate, keyField, "%s", problem)
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		if strings.Contains(err.Error(), "does not match") {
			return bad(definition.CodeKeyMismatch, keyField, "the key does not belong to the certificate of %s", describe(leaf))
		}
		return bad(definition.CodeBadCertificate, keyField, "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	return leaf, nil
}

// minRSA is what Envoy wants of an RSA key, in bits: it refuses the listener otherwise.
const minRSA = 2048

// checkStrength says what proxies do not take of a certificate's key; "" is nothing.
func checkStrength(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA {
			return fmt.Sprintf("got an RSA key of %d bits, want at least %d, or ECDSA on P-256", bits, minRSA)
		}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return fmt.Sprintf("got an ECDSA key on %s, want P-256, P-384 or P-521", key.Curve.Params().Name)
		}
		// Envoy refuses it, and with it all certificates that come along.
		if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
			return "got a certificate whose key usage has no digitalSignature, want it: that is all that an ECDSA key does in TLS"
		}
	case ed25519.PublicKey:
	default:
		return "got a key of another kind, want ECDSA, RSA or Ed25519"
	}
	return ""
}

// checkKey says what is wrong with a key file before anything is decoded; "" is nothing.
func checkKey(key []byte) string {
	for rest := key; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return "got no PEM block PRIVATE KEY, want a private key: PKCS #8, PKCS #1 or SEC 1"
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return "got an encrypted key, want one that is not"
		}
		if block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY") {
			return ""
		}
	}
}

func describe(leaf *x509.Certificate) string {
	if names := certificateNames(leaf); len(names) > 0 {
		return strings.Join(names[:min(3, len(names))], ", ")
	}
	return leaf.Subject.String()
}

// certificateNames are the hosts that a certificate covers: its dNSNames, else its common name (RFC 6125, section
// 6.4.4). Names that are no hosts of the language are passed by.
func certificateNames(leaf *x509.Certificate) []string {
	candidates := leaf.DNSNames
	if len(candidates) == 0 && len(leaf.IPAddresses) == 0 {
		candidates = []string{leaf.Subject.CommonName}
	}
	var names []string
	for _, n := range candidates {
		n = strings.ToLower(strings.TrimSuffix(n, "."))
		if suffix := strings.TrimPrefix(n, "*."); suffix == "" || strings.ContainsAny(suffix, "* /:") || !strings.Contains(n, ".") && n != "localhost" && strings.Contains(n, " ") {
			continue
		}
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
