package compile

import (
	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// serviceTLS resolves how the endpoints are spoken to. False: something that it needs is not there, and plaintext is no way out.
func (c *compiler) serviceTLS(s *service, m *sluicev1.ServiceTLS) bool {
	if m == nil {
		return true
	}
	ok := true
	t := &ir.UpstreamTLS{ServerName: m.GetServerName(), Certificate: m.GetCertificate()}
	if bundle := m.GetTrustBundle(); bundle != "" {
		v, good := c.validation(s.doc, "tls", bundle, m.GetSubjectAltNames())
		if len(v.Names) == 0 {
			v.Names = []ir.AltName{{Kind: ir.AltDNS, Text: ir.Text{Value: m.GetServerName()}}}
		}
		t.Validation, ok = &v, good
	}
	if t.Certificate != "" && c.certs[t.Certificate] == nil {
		c.missing(s.doc, "tls.certificate", definition.CodeUnknownCertificate, definition.Ref{Kind: "Certificate", Name: t.Certificate})
		ok = false
	}
	s.cluster.TLS = t
	return ok
}
