package bootstrap_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

// TestSecretFiles: what is in the files counts from the next connection on, the key and the certificate as one.
func TestSecretFiles(t *testing.T) {
	ours, next := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	put := func(name string, text []byte, err error) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	fill := func(by *authority) (chain []byte, identity, trust string) {
		t.Helper()
		chain, key := by.issue(func(c *x509.Certificate) { c.DNSNames = []string{"p1.edge"} })
		text, err := bootstrap.Identity(chain, key)
		identity = put("identity.json", text, err)
		if gotChain, gotKey, err := bootstrap.ReadIdentity(text); err != nil || !bytes.Equal(gotChain, chain) || !bytes.Equal(gotKey, key) {
			t.Errorf("read back: %v", err)
		}
		text, err = bootstrap.Trust(by.pem)
		return chain, identity, put("trust.json", text, err)
	}
	_, identity, trust := fill(ours)
	text, err := bootstrap.Write(bootstrap.Options{Server: "cp.example.com:1", Fleet: "edge", ID: "p1", IdentityFile: identity, TrustFile: trust})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bootstrap.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	check := func(by *authority) {
		t.Helper()
		config, err := b.ADS.Target.TLS()
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
		if err != nil || leaf.CheckSignatureFrom(by.cert) != nil {
			t.Errorf("the certificate is not the one in the file: %v", err)
		}
	}
	check(ours)
	fill(next)
	check(next)

	const secret = "c2VjcmV0LW9mLXRoZS1wcm94eQ"
	for want, content := range map[string]string{
		"no such file":             "",
		"got no YAML or JSON":      "{" + secret,
		"want a DiscoveryResponse": "a: " + secret,
		`got no secret "identity"`: `resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: x}]`,
		"want certificate_chain":   `resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: identity}]`,
		"password: not supported": `resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: identity,
  tls_certificate: {certificate_chain: {inline_string: x}, private_key: {inline_string: ` + secret + `}, password: {inline_string: ` + secret + `}}}]`,
		"tls_certificates: tls": `resources: [{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: identity,
  tls_certificate: {certificate_chain: {inline_string: x}, private_key: {inline_string: ` + secret + `}}}]`,
	} {
		if content == "" {
			if err := os.Remove(identity); err != nil {
				t.Fatal(err)
			}
		} else {
			put("identity.json", []byte(content), nil)
		}
		_, err := b.ADS.Target.TLS()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
