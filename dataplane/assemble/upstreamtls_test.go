package assemble_test

import (
	"fmt"
	"strings"
	"testing"
)

// clusterWithTLS shows the certificate s, and trusts trust/ca.
func clusterWithTLS(name, timeout string) string {
	return strings.TrimSuffix(cluster(name, timeout, ""), "}") + `,"transport_socket":{"name":"tls","typed_config":{
"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","common_tls_context":{
"tls_certificate_sds_secret_configs":[{"name":"s","sds_config":` + ads + `}],
"validation_context_sds_secret_config":{"name":"trust/ca","sds_config":` + ads + `}}}}}`
}

func authorities() string {
	chain, _ := pair()
	return fmt.Sprintf(`{"name":"trust/ca","validation_context":{"trusted_ca":{"inline_string":%q}}}`, chain)
}

// TestClusterWaitsForSecrets: a cluster asks for its secrets, and serves when all of them are there; who serves already serves on until
// then. Others of the same authorities are applied at once.
func TestClusterWaitsForSecrets(t *testing.T) {
	r := warm(t)
	r.accept("", cds, clusterWithTLS("a", "2s"))
	r.wants("SDS", "s trust/ca")
	r.send(eds, endpoints("a", 1))
	r.send(sds, secret("s"))
	if r.last.Clusters["a"].TLS != nil {
		t.Fatal("the cluster serves before its authorities are there")
	}
	r.send(sds, authorities())
	if r.last.Clusters["a"].TLS == nil || r.last.Validations["trust/ca"] == nil || r.last.Certificates["s"] == nil {
		t.Fatalf("got %+v, want the cluster with its secrets", r.last)
	}
	before := r.last
	if r.send(sds, strings.Replace(authorities(), "-----BEGIN", `more text\n-----BEGIN`, 1)); r.last == before || r.last.Clusters["a"] != before.Clusters["a"] {
		t.Error("other authorities were not applied, or with another cluster")
	}
	r.send(cds, cluster("a", "3s", ""))
	r.send(eds, endpoints("a", 1))
	r.wants("SDS", "")
	if len(r.last.Validations) != 0 || len(r.last.Certificates) != 0 {
		t.Error("secrets are kept that nothing refers to")
	}
}

// TestClusterWithoutSecrets: what does not exist is not waited for for ever; connections are refused then, not made unverified.
func TestClusterWithoutSecrets(t *testing.T) {
	r := warm(t)
	r.accept("", cds, clusterWithTLS("a", "2s"))
	r.send(eds, endpoints("a", 1))
	r.Missing(sds, "s")
	r.Missing(sds, "trust/ca")
	if r.last.Clusters["a"].TLS == nil || len(r.last.Validations) != 0 {
		t.Errorf("got %+v, want the cluster without its secrets", r.last)
	}
}

// TestListenerWaitsForAuthorities: as for its certificate.
func TestListenerWaitsForAuthorities(t *testing.T) {
	r := warm(t)
	l := strings.Replace(listenerOf("web", 80, httpFilter("t"), "s"), `"alpn_protocols"`,
		`"validation_context_sds_secret_config":{"name":"trust/ca","sds_config":`+ads+`},"alpn_protocols"`, 1)
	r.accept("", lds, l)
	r.wants("SDS", "s trust/ca")
	r.send(sds, secret("s"))
	if r.last.Listeners["web"].Chains[0].TLS != nil {
		t.Fatal("the listener serves before its authorities are there")
	}
	r.send(sds, authorities())
	if c := r.last.Listeners["web"].Chains[0].TLS; c == nil || c.Clients == nil || r.last.Validations["trust/ca"] == nil {
		t.Error("the listener does not serve with its authorities")
	}
}
