package bootstrap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// tlsSource is TLS towards the control plane. Its files are read for each connection, so that renewed ones are used.
type tlsSource struct {
	ca, certificate, key *corepb.DataSource
	// identity replaces certificate and key, trust replaces ca, where they are set.
	identity, trust *secretFile
	serverName      string
	names           []*tlspb.SubjectAltNameMatcher
	min, max        uint16
}

var versions = map[tlspb.TlsParameters_TlsProtocol]uint16{
	tlspb.TlsParameters_TLS_AUTO: 0,
	tlspb.TlsParameters_TLSv1_2:  tls.VersionTLS12,
	tlspb.TlsParameters_TLSv1_3:  tls.VersionTLS13,
}

// tls reads an UpstreamTlsContext; nil if something is wrong with it.
func (r *reader) tls(field string, m *tlspb.UpstreamTlsContext) *tlsSource {
	before := len(r.refusals)
	common := m.GetCommonTlsContext()
	s := &tlsSource{serverName: m.Sni}
	field += ".common_tls_context"
	for _, v := range []struct {
		name string
		got  tlspb.TlsParameters_TlsProtocol
		to   *uint16
	}{
		{"tls_minimum_protocol_version", common.GetTlsParams().GetTlsMinimumProtocolVersion(), &s.min},
		{"tls_maximum_protocol_version", common.GetTlsParams().GetTlsMaximumProtocolVersion(), &s.max},
	} {
		version, ok := versions[v.got]
		if !ok {
			r.refuse(field+".tls_params."+v.name, "got %v, want TLSv1_2 or TLSv1_3: %s", v.got, notSupported)
		}
		*v.to = version
	}
	s.identity = r.identity(field, common)
	switch certificates := common.GetTlsCertificates(); len(certificates) {
	case 0:
	case 1:
		s.certificate, s.key = certificates[0].CertificateChain, certificates[0].PrivateKey
		if s.certificate == nil || s.key == nil {
			r.refuse(at(field+".tls_certificates", 0), "want certificate_chain and private_key")
		}
	default:
		r.refuse(field+".tls_certificates", "got %d, want at most 1: %s", len(certificates), notSupported)
	}
	field, validation, trust := r.validation(field, common)
	s.ca, s.trust, s.names = validation.GetTrustedCa(), trust, validation.GetMatchTypedSubjectAltNames()
	if s.ca == nil && s.trust == nil {
		r.refuse(field+".trusted_ca", "got none, want one: whoever answers as the control plane could take this proxy over")
	}
	for i, n := range s.names {
		if !slices.Contains(sanTypes, n.SanType) {
			r.refuse(at(field+".match_typed_subject_alt_names", i)+".san_type", "got %v, want DNS, URI or IP_ADDRESS: %s", n.SanType, notSupported)
		}
	}
	if len(r.refusals) > before {
		return nil
	}
	return s
}

var sanTypes = []tlspb.SubjectAltNameMatcher_SanType{
	tlspb.SubjectAltNameMatcher_DNS, tlspb.SubjectAltNameMatcher_URI, tlspb.SubjectAltNameMatcher_IP_ADDRESS,
}

// config reads the files.
func (s *tlsSource) config() (*tls.Config, error) {
	now := *s
	if err := now.readSecrets(); err != nil {
		return nil, err
	}
	return now.build()
}

func (s *tlsSource) build() (*tls.Config, error) {
	ca, err := load(s.ca)
	if err != nil {
		return nil, fmt.Errorf("trusted_ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("trusted_ca: got no certificate, want PEM")
	}
	c := &tls.Config{
		ServerName: s.serverName,
		NextProtos: []string{"h2"},
		MinVersion: max(s.min, tls.VersionTLS12),
		MaxVersion: s.max,
		// The chain is verified below. As with Envoy, the name is not SNI's but one of match_typed_subject_alt_names.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it
		VerifyConnection:   func(state tls.ConnectionState) error { return s.verify(roots, state) },
	}
	if s.certificate == nil {
		return c, nil
	}
	chain, err := load(s.certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate_chain: %w", err)
	}
	key, err := load(s.key)
	if err != nil {
		return nil, fmt.Errorf("private_key: %w", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("tls_certificates: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// verify checks the chain, and that one of the wanted names is the peer's.
func (s *tlsSource) verify(roots *x509.CertPool, state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("control plane: got no certificate")
	}
	leaf := state.PeerCertificates[0]
	intermediates := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		intermediates.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return fmt.Errorf("control plane: %w", err)
	}
	if len(s.names) == 0 || slices.ContainsFunc(s.names, func(n *tlspb.SubjectAltNameMatcher) bool { return named(leaf, n) }) {
		return nil
	}
	return errors.New("control plane: its certificate has none of the names in match_typed_subject_alt_names")
}

// named tells whether a certificate has a name.
func named(c *x509.Certificate, n *tlspb.SubjectAltNameMatcher) bool {
	want := n.GetMatcher().GetExact()
	switch n.SanType {
	case tlspb.SubjectAltNameMatcher_DNS:
		// A DNS name, and never an address in brackets or the like, for which VerifyHostname compares IP addresses.
		return net.ParseIP(want) == nil && c.VerifyHostname(want) == nil
	case tlspb.SubjectAltNameMatcher_IP_ADDRESS:
		ip := net.ParseIP(want)
		return ip != nil && slices.ContainsFunc(c.IPAddresses, ip.Equal)
	case tlspb.SubjectAltNameMatcher_URI:
		for _, u := range c.URIs {
			if u.String() == want {
				return true
			}
		}
	}
	return false
}

// load reads a data source.
func load(s *corepb.DataSource) ([]byte, error) {
	switch from := s.GetSpecifier().(type) {
	case *corepb.DataSource_Filename:
		return os.ReadFile(from.Filename)
	case *corepb.DataSource_InlineBytes:
		return from.InlineBytes, nil
	case *corepb.DataSource_InlineString:
		return []byte(from.InlineString), nil
	case *corepb.DataSource_EnvironmentVariable:
		value, ok := os.LookupEnv(from.EnvironmentVariable)
		if !ok {
			return nil, fmt.Errorf("environment variable %s: not set", from.EnvironmentVariable)
		}
		return []byte(value), nil
	}
	return nil, errors.New("got nothing, want a file, a text or an environment variable")
}
