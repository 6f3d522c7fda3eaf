package translate

import (
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// secret is a Certificate, with its key.
func secret(c *ir.Certificate) *tlspb.Secret {
	return &tlspb.Secret{Name: c.Name, Type: &tlspb.Secret_TlsCertificate{TlsCertificate: &tlspb.TlsCertificate{
		CertificateChain: &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: c.Chain}},
		PrivateKey:       &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: c.Key}},
	}}}
}

// ticketKeysName is no Certificate's: those have no slash.
const ticketKeysName = "sluice/session-tickets"

// ticketKeys are what a fleet's proxies resume each other's sessions by.
func ticketKeys(keys []ir.Secret) *tlspb.Secret {
	m := &tlspb.TlsSessionTicketKeys{}
	for _, key := range keys {
		m.Keys = append(m.Keys, &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: key}})
	}
	return &tlspb.Secret{Name: ticketKeysName, Type: &tlspb.Secret_SessionTicketKeys{SessionTicketKeys: m}}
}
