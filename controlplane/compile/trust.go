package compile

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// maxAuthorities bounds a TrustBundle: the system's own have some 150.
const maxAuthorities = 1000

type trustBundle struct {
	doc *definition.Document
	ir  ir.TrustBundle
}

// resolveTrustBundles gets the bytes. A TrustBundle that cannot be read is left out.
func (c *compiler) resolveTrustBundles() {
	for _, name := range sortedKeys(c.trust) {
		if !c.trustBundle(c.trust[name]) {
			c.hold(c.trust[name].doc)
			delete(c.trust, name)
		}
	}
}

func (c *compiler) trustBundle(t *trustBundle) bool {
	if c.in.Certificates == nil {
		c.errorf(t.doc, "", definition.CodeMissingFile, "nothing reads certificates here")
		return false
	}
	text, _, err := c.in.Certificates(t.doc)
	if err != nil {
		var ce *CertificateError
		if !errors.As(err, &ce) {
			ce = &CertificateError{Code: definition.CodeMissingFile, Err: err}
		}
		c.errorf(t.doc, ce.Field, ce.Code, "%s", ce.Err)
		if len(text) == 0 {
			return false
		}
	}
	authorities, bad := CheckAuthorities(text)
	if bad != nil {
		c.errorf(t.doc, "files", definition.CodeBadCertificate, "%s", bad)
		return false
	}
	t.ir = ir.TrustBundle{Name: t.doc.Ref.Name, Authorities: text}
	// Old ones beside others are usual: a system's own have some.
	if !slices.ContainsFunc(authorities, func(a *x509.Certificate) bool { return !c.in.Now.After(a.NotAfter) }) {
		a := authorities[0]
		c.warnf(t.doc, "files", definition.CodeCertificateExpired, "all certificates have expired, that of %s at %s: nobody is trusted", a.Subject, a.NotAfter.UTC().Format("2006-01-02 15:04:05 MST"))
	}
	return true
}

// CheckAuthorities parses PEM as a proxy would: certificates, and nothing that is secret.
func CheckAuthorities(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	blocks := 0
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		blocks++
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("got a PEM block %s, want CERTIFICATE alone", block.Type)
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, parsed)
	}
	switch {
	case bytes.Count(text, []byte("-----BEGIN ")) > blocks: // the decoder passes them by, Envoy does not
		return nil, errors.New("got a PEM block that is cut short or damaged, want all of them whole")
	case len(all) == 0:
		return nil, errors.New("got no PEM block CERTIFICATE, want the certificates of authorities")
	case len(all) > maxAuthorities:
		return nil, fmt.Errorf("got %d certificates, want at most %d", len(all), maxAuthorities)
	}
	return all, nil
}

// validation resolves whose certificates are taken. False: there is no such TrustBundle, and so nobody is to be trusted.
func (c *compiler) validation(d *definition.Document, field, bundle string, names []*sluicev1.SubjectAltName) (ir.Validation, bool) {
	v := ir.Validation{TrustBundle: bundle}
	for _, n := range names {
		v.Names = append(v.Names, altName(n))
	}
	if c.trust[bundle] == nil {
		c.missing(d, field+".trustBundle", definition.CodeUnknownTrustBundle, definition.Ref{Kind: "TrustBundle", Name: bundle})
		return v, false
	}
	return v, true
}

func altName(n *sluicev1.SubjectAltName) ir.AltName {
	switch n := n.GetName().(type) {
	case *sluicev1.SubjectAltName_Uri:
		return ir.AltName{Kind: ir.AltURI, Text: ir.Text{Value: n.Uri}}
	case *sluicev1.SubjectAltName_UriPrefix:
		return ir.AltName{Kind: ir.AltURI, Text: ir.Text{Kind: ir.TextPrefix, Value: n.UriPrefix}}
	case *sluicev1.SubjectAltName_Email:
		return ir.AltName{Kind: ir.AltEmail, Text: ir.Text{Value: n.Email}}
	}
	return ir.AltName{Kind: ir.AltDNS, Text: ir.Text{Value: n.GetDns()}}
}
