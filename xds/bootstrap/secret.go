package bootstrap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
)

// The names of the secrets in the files that Identity and Trust write.
const (
	identityName = "identity"
	trustName    = "trust"
)

// Identity is a file with a proxy's certificate and key, both PEM, in one: whoever replaces it by a rename never shows a
// key beside another key's certificate. It is what Envoy reads as SDS from a path.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/security/secret
func Identity(chain, key []byte) ([]byte, error) {
	return secrets(map[string]any{"name": identityName, "tls_certificate": map[string]any{
		"certificate_chain": inline(chain), "private_key": inline(key),
	}})
}

// Trust is a file with the roots that vouch for the control plane, PEM.
func Trust(roots []byte) ([]byte, error) {
	return secrets(map[string]any{"name": trustName, "validation_context": map[string]any{"trusted_ca": inline(roots)}})
}

// ReadIdentity gives the certificate and the key of a file that Identity has written.
func ReadIdentity(data []byte) (chain, key []byte, err error) {
	s, err := findSecret(data, identityName)
	if err != nil {
		return nil, nil, fmt.Errorf("bootstrap: %w", err)
	}
	return []byte(s.GetTlsCertificate().GetCertificateChain().GetInlineString()), []byte(s.GetTlsCertificate().GetPrivateKey().GetInlineString()), nil
}

func inline(pem []byte) map[string]any { return map[string]any{"inline_string": string(pem)} }

func secrets(secret map[string]any) ([]byte, error) {
	secret["@type"] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	text, err := json.MarshalIndent(map[string]any{"resources": []any{secret}}, "", "  ")
	return append(text, '\n'), err
}

// secretFile is where a secret is: a file with a DiscoveryResponse in JSON or YAML, and a name in it.
type secretFile struct{ path, name string }

// identity reads tls_certificate_sds_secret_configs; nil if there is none.
func (r *reader) identity(field string, c *tlspb.CommonTlsContext) *secretFile {
	list := c.GetTlsCertificateSdsSecretConfigs()
	field += ".tls_certificate_sds_secret_configs"
	switch {
	case len(list) == 0:
		return nil
	case len(list) > 1:
		r.refuse(field, "got %d, want at most 1: %s", len(list), notSupported)
	case len(c.GetTlsCertificates()) > 0:
		r.refuse(field, "got some beside tls_certificates, want the ones or the others: %s", notSupported)
	}
	return r.secretFile(at(field, 0), list[0])
}

// validation is what decides whom to trust: the field that says it, what stands there, and the file that adds the
// authorities; nil if there is none.
func (r *reader) validation(field string, c *tlspb.CommonTlsContext) (string, *tlspb.CertificateValidationContext, *secretFile) {
	switch {
	case c.GetCombinedValidationContext() != nil:
		field += ".combined_validation_context"
		combined := c.GetCombinedValidationContext()
		return field + ".default_validation_context", combined.GetDefaultValidationContext(),
			r.secretFile(field+".validation_context_sds_secret_config", combined.GetValidationContextSdsSecretConfig())
	case c.GetValidationContextSdsSecretConfig() != nil:
		field += ".validation_context_sds_secret_config"
		return field, nil, r.secretFile(field, c.GetValidationContextSdsSecretConfig())
	}
	return field + ".validation_context", c.GetValidationContext(), nil
}

func (r *reader) secretFile(field string, c *tlspb.SdsSecretConfig) *secretFile {
	if c == nil {
		return nil
	}
	path := c.GetSdsConfig().GetPathConfigSource().GetPath()
	if path == "" {
		r.refuse(field+".sds_config", "want a path_config_source: the control plane cannot be asked before it is reached")
	}
	if v := c.GetSdsConfig().GetResourceApiVersion(); v != corepb.ApiVersion_V3 {
		r.refuse(field+".sds_config.resource_api_version", "got %v, want V3", v)
	}
	return &secretFile{path: path, name: c.GetName()}
}

func (f *secretFile) read() (*tlspb.Secret, error) {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return nil, err
	}
	s, err := findSecret(data, f.name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	return s, nil
}

// findSecret finds a secret in a DiscoveryResponse. What it holds that has no meaning here is refused, as in the bootstrap.
func findSecret(data []byte, name string) (*tlspb.Secret, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("got %d bytes, want at most %d", len(data), MaxBytes)
	}
	var value any
	// An error of the YAML or the JSON may quote what it stumbled over, and that may be a key.
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&value); err != nil {
		return nil, fmt.Errorf("got no YAML or JSON, want a DiscoveryResponse")
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("got no YAML or JSON, want a DiscoveryResponse")
	}
	response := &discoverypb.DiscoveryResponse{}
	if protojson.Unmarshal(text, response) != nil {
		return nil, fmt.Errorf("got something else, want a DiscoveryResponse with secrets")
	}
	for _, resource := range response.GetResources() {
		s := &tlspb.Secret{}
		if resource.UnmarshalTo(s) != nil || s.GetName() != name {
			continue
		}
		r := &reader{}
		r.walk(clusterTable, s)
		return s, r.err()
	}
	return nil, fmt.Errorf("got no secret %q, want it", name)
}

// readSecrets puts what is in the files in its place.
func (s *tlsSource) readSecrets() error {
	if s.identity != nil {
		secret, err := s.identity.read()
		if err != nil {
			return fmt.Errorf("tls_certificate: %w", err)
		}
		s.certificate, s.key = secret.GetTlsCertificate().GetCertificateChain(), secret.GetTlsCertificate().GetPrivateKey()
		if s.certificate == nil || s.key == nil {
			return fmt.Errorf("tls_certificate: %s: want certificate_chain and private_key", s.identity.path)
		}
	}
	if s.trust == nil {
		return nil
	}
	secret, err := s.trust.read()
	if err != nil {
		return fmt.Errorf("validation_context: %w", err)
	}
	if ca := secret.GetValidationContext().GetTrustedCa(); ca != nil {
		s.ca = ca
	}
	// Envoy merges the two: lists grow.
	s.names = append(s.names[:len(s.names):len(s.names)], secret.GetValidationContext().GetMatchTypedSubjectAltNames()...)
	return nil
}
