package decode

import (
	"fmt"

	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/dataplane/certs"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// clients reads which certificates clients must show; nil asks for none. As with Envoy, whoever is asked is judged: without
// require_client_certificate only those that show one.
func (d *decoder) clients(at string, m *tlspb.DownstreamTlsContext) *config.Clients {
	trust := d.trust(at+".common_tls_context", m.GetCommonTlsContext())
	required := m.GetRequireClientCertificate().GetValue()
	if trust == nil {
		if required {
			d.missing(at+".require_client_certificate", "got true and no validation_context, want one that says whose certificates are taken")
		}
		return nil
	}
	return &config.Clients{Trust: *trust, Optional: !required}
}

// trust reads whose certificates are taken; nil is not said.
func (d *decoder) trust(at string, m *tlspb.CommonTlsContext) *config.Trust {
	switch {
	case m.GetValidationContext() != nil:
		at += ".validation_context"
		own := d.validation(at, "", m.GetValidationContext())
		if len(own.Authorities) == 0 {
			d.missing(at+".trusted_ca", "want PEM in inline_bytes or inline_string")
		}
		return &config.Trust{Own: own}
	case m.GetValidationContextSdsSecretConfig() != nil:
		return &config.Trust{Name: d.sdsName(at+".validation_context_sds_secret_config", m.GetValidationContextSdsSecretConfig())}
	case m.GetCombinedValidationContext() != nil:
		at += ".combined_validation_context"
		both := m.GetCombinedValidationContext()
		return &config.Trust{
			Own:  d.validation(at+".default_validation_context", "", both.GetDefaultValidationContext()),
			Name: d.sdsName(at+".validation_context_sds_secret_config", both.GetValidationContextSdsSecretConfig()),
		}
	}
	return nil
}

var altNames = map[tlspb.SubjectAltNameMatcher_SanType]config.AltNameKind{
	tlspb.SubjectAltNameMatcher_DNS: config.AltDNS, tlspb.SubjectAltNameMatcher_URI: config.AltURI,
	tlspb.SubjectAltNameMatcher_EMAIL: config.AltEmail, tlspb.SubjectAltNameMatcher_IP_ADDRESS: config.AltIP,
}

// validation reads one, or a part of one.
func (d *decoder) validation(at, name string, m *tlspb.CertificateValidationContext) *config.Validation {
	v := &config.Validation{Name: name, Authorities: inline(m.GetTrustedCa())}
	if len(v.Authorities) > 0 {
		if _, err := certs.ParseAuthorities(v.Authorities); err != nil {
			d.refuse(at+".trusted_ca", "%v", err)
		}
	} else if m.GetTrustedCa() != nil {
		d.missing(at+".trusted_ca", "want PEM in inline_bytes or inline_string")
	}
	for i, n := range m.GetMatchTypedSubjectAltNames() {
		v.Names = append(v.Names, config.AltName{
			Kind: altNames[n.GetSanType()],
			Text: d.text(fmt.Sprintf("%s.match_typed_subject_alt_names[%d].matcher", at, i), n.GetMatcher()),
		})
	}
	return v
}
