package translate

import (
	"google.golang.org/protobuf/types/known/wrapperspb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// trustSecret is the name of a TrustBundle's secret: Certificates have none with a slash.
func trustSecret(name string) string { return "trust/" + name }

// trust is a TrustBundle. It comes by SDS, so that another authority drains nobody.
func trust(t *ir.TrustBundle) *tlspb.Secret {
	return &tlspb.Secret{Name: trustSecret(t.Name), Type: &tlspb.Secret_ValidationContext{ValidationContext: &tlspb.CertificateValidationContext{
		TrustedCa: &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: t.Authorities}},
	}}}
}

// validate puts into a TLS context whose certificates are taken. The names stand beside the secret, since they are the user's of the
// authorities, and differ from one to the next.
func validate(common *tlspb.CommonTlsContext, v *ir.Validation) {
	secret := &tlspb.SdsSecretConfig{Name: trustSecret(v.TrustBundle), SdsConfig: ads()}
	if len(v.Names) == 0 {
		common.ValidationContextType = &tlspb.CommonTlsContext_ValidationContextSdsSecretConfig{ValidationContextSdsSecretConfig: secret}
		return
	}
	own := &tlspb.CertificateValidationContext{}
	for _, n := range v.Names {
		own.MatchTypedSubjectAltNames = append(own.MatchTypedSubjectAltNames, &tlspb.SubjectAltNameMatcher{SanType: altNames[n.Kind], Matcher: text(n.Text)})
	}
	common.ValidationContextType = &tlspb.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlspb.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext: own, ValidationContextSdsSecretConfig: secret,
		},
	}
}

var altNames = map[ir.AltNameKind]tlspb.SubjectAltNameMatcher_SanType{
	ir.AltDNS: tlspb.SubjectAltNameMatcher_DNS, ir.AltURI: tlspb.SubjectAltNameMatcher_URI, ir.AltEmail: tlspb.SubjectAltNameMatcher_EMAIL,
}

// clients says which certificates clients must show.
func clients(m *tlspb.DownstreamTlsContext, c *ir.Clients) {
	if c == nil {
		return
	}
	m.RequireClientCertificate = wrapperspb.Bool(!c.Optional)
	validate(m.GetCommonTlsContext(), &c.Validation)
}

// upstreamTLS is how endpoints are spoken to. What it shows and whom it trusts come by SDS, so that a renewal leaves connections
// alone. No ALPN stands here: of its own accord Envoy offers h2 or http/1.1, as the cluster speaks, and none for TCP.
func upstreamTLS(t *ir.UpstreamTLS) *corepb.TransportSocket {
	common := &tlspb.CommonTlsContext{TlsParams: &tlspb.TlsParameters{
		TlsMinimumProtocolVersion: tlspb.TlsParameters_TLSv1_2,
		// Envoy's own is 1.2 towards endpoints.
		TlsMaximumProtocolVersion: tlspb.TlsParameters_TLSv1_3,
	}}
	if t.Certificate != "" {
		common.TlsCertificateSdsSecretConfigs = []*tlspb.SdsSecretConfig{{Name: t.Certificate, SdsConfig: ads()}}
	}
	if t.Validation != nil {
		validate(common, t.Validation)
	}
	return &corepb.TransportSocket{
		Name:       tlsSocketName,
		ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: pack(&tlspb.UpstreamTlsContext{CommonTlsContext: common, Sni: t.ServerName})},
	}
}
