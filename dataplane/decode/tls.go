package decode

import (
	"crypto/tls"
	"errors"
	"fmt"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// tlsVersions are crypto/tls's numbers; TLS_AUTO is 0, "the default".
var tlsVersions = map[tlspb.TlsParameters_TlsProtocol]uint16{
	tlspb.TlsParameters_TLS_AUTO: 0,
	tlspb.TlsParameters_TLSv1_0:  tls.VersionTLS10,
	tlspb.TlsParameters_TLSv1_1:  tls.VersionTLS11,
	tlspb.TlsParameters_TLSv1_2:  tls.VersionTLS12,
	tlspb.TlsParameters_TLSv1_3:  tls.VersionTLS13,
}

// downstreamTLS reads how a listener terminates TLS.
func (d *decoder) downstreamTLS(at string, m *tlspb.DownstreamTlsContext) *config.DownstreamTLS {
	t := d.commonTLS(at+".common_tls_context", m.GetCommonTlsContext())
	t.Clients = d.clients(at, m)
	t.NoTickets = m.GetDisableStatelessSessionResumption()
	if s := m.GetSessionTicketKeysSdsSecretConfig(); s != nil {
		t.TicketKeysName = d.sdsName(at+".session_ticket_keys_sds_secret_config", s)
	}
	if keys := m.GetSessionTicketKeys(); keys != nil {
		t.TicketKeys = d.ticketKeys(at+".session_ticket_keys", "", keys)
	}
	return t
}

func (d *decoder) commonTLS(at string, m *tlspb.CommonTlsContext) *config.DownstreamTLS {
	t := &config.DownstreamTLS{ALPN: m.GetAlpnProtocols()}
	t.MinVersion, t.MaxVersion = d.tlsVersions(at, m)
	t.CertificateNames, t.Certificates = d.presented(at, m)
	if len(t.CertificateNames)+len(t.Certificates) == 0 {
		d.missing(at, "got no certificate, want tls_certificates or tls_certificate_sds_secret_configs")
	}
	return t
}

func (d *decoder) tlsVersions(at string, m *tlspb.CommonTlsContext) (least, most uint16) {
	least = tlsVersions[m.GetTlsParams().GetTlsMinimumProtocolVersion()]
	most = tlsVersions[m.GetTlsParams().GetTlsMaximumProtocolVersion()]
	if least != 0 && most != 0 && least > most {
		d.refuse(at+".tls_params", "got a minimum of %s above the maximum of %s", tls.VersionName(least), tls.VersionName(most))
	}
	return least, most
}

func (d *decoder) presented(at string, m *tlspb.CommonTlsContext) (names []string, own []*config.Certificate) {
	for i, s := range m.GetTlsCertificateSdsSecretConfigs() {
		names = append(names, d.sdsName(fmt.Sprintf("%s.tls_certificate_sds_secret_configs[%d]", at, i), s))
	}
	for i, c := range m.GetTlsCertificates() {
		own = append(own, d.keyPair(fmt.Sprintf("%s.tls_certificates[%d]", at, i), "", c))
	}
	return names, own
}

// upstreamTLS reads how endpoints are spoken to. Without a validation context they may be anybody, as with Envoy.
func (d *decoder) upstreamTLS(at string, m *tlspb.UpstreamTlsContext) *config.UpstreamTLS {
	at += ".common_tls_context"
	common := m.GetCommonTlsContext()
	t := &config.UpstreamTLS{ServerName: m.GetSni(), ALPN: common.GetAlpnProtocols(), Trust: d.trust(at, common)}
	t.MinVersion, t.MaxVersion = d.tlsVersions(at, common)
	names, own := d.presented(at, common)
	switch {
	case len(names)+len(own) > 1:
		d.refuse(at, "got %d certificates, want one at most: %s", len(names)+len(own), notSupported)
	case len(names) == 1:
		t.CertificateName = names[0]
	case len(own) == 1:
		t.Certificate = own[0]
	}
	return t
}

func (d *decoder) sdsName(at string, m *tlspb.SdsSecretConfig) string {
	if m.GetName() == "" {
		d.refuse(at+".name", `got "", want a name`)
	}
	d.configSource(at+".sds_config", m.GetSdsConfig())
	return m.GetName()
}

// secret reads an SDS resource.
func (d *decoder) secret() *Secret {
	m := d.message.(*tlspb.Secret)
	switch {
	case m.GetTlsCertificate() != nil:
		return &Secret{Certificate: d.keyPair("tls_certificate", m.GetName(), m.GetTlsCertificate())}
	case m.GetSessionTicketKeys() != nil:
		return &Secret{TicketKeys: d.ticketKeys("session_ticket_keys", m.GetName(), m.GetSessionTicketKeys())}
	}
	if v := m.GetValidationContext(); v != nil {
		validation := d.validation("validation_context", m.GetName(), v)
		if len(validation.Authorities) == 0 {
			d.missing("validation_context.trusted_ca", "want PEM in inline_bytes or inline_string")
		}
		return &Secret{Validation: validation}
	}
	d.refuse("tls_certificate", "got none, want a certificate and its key, session_ticket_keys or validation_context")
	return nil
}

// ticketKeys reads what encrypts session tickets. The errors show no key.
func (d *decoder) ticketKeys(at, name string, m *tlspb.TlsSessionTicketKeys) *config.TicketKeys {
	t := &config.TicketKeys{Name: name}
	for i, source := range m.GetKeys() {
		key := inline(source)
		if here := fmt.Sprintf("%s.keys[%d]", at, i); len(key) == 0 {
			d.missing(here, "want %d bytes in inline_bytes or inline_string", config.TicketKeySize)
		} else if len(key) != config.TicketKeySize {
			d.refuse(here, "got %d bytes, want %d", len(key), config.TicketKeySize)
		}
		t.Keys = append(t.Keys, key)
	}
	if len(t.Keys) == 0 {
		d.missing(at+".keys", "got none, want a key")
	}
	return t
}

// keyPair reads the chain and its key as the handshakes will, so that a bad renewal is a NACK, and the old certificate is
// kept. The errors show no key.
func (d *decoder) keyPair(at, name string, m *tlspb.TlsCertificate) *config.Certificate {
	c := &config.Certificate{Name: name, Chain: inline(m.GetCertificateChain()), Key: inline(m.GetPrivateKey())}
	switch {
	case len(c.Chain) == 0:
		d.missing(at+".certificate_chain", "want PEM in inline_bytes or inline_string")
	case len(c.Key) == 0:
		d.missing(at+".private_key", "want PEM in inline_bytes or inline_string")
	default:
		if _, err := certs.Parse(c); err != nil {
			d.refuse(at, "%v", errors.Unwrap(err)) // without the name, which the refusal has
		}
	}
	return c
}

// inline is the bytes that stand in the resource itself.
func inline(m *corepb.DataSource) []byte {
	switch s := m.GetSpecifier().(type) {
	case *corepb.DataSource_InlineBytes:
		return s.InlineBytes
	case *corepb.DataSource_InlineString:
		return []byte(s.InlineString)
	}
	return nil
}
