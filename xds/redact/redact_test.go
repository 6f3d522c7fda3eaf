package redact_test

import (
	"bytes"
	"strings"
	"testing"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/xds/redact"
)

const key = "very secret"

func inline(s string) *corepb.DataSource {
	return &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: []byte(s)}}
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSecretsNeverShow(t *testing.T) {
	certificate := &tlspb.TlsCertificate{CertificateChain: inline("public"), PrivateKey: inline(key)}
	ticket := &tlspb.TlsSessionTicketKeys{Keys: []*corepb.DataSource{inline(key)}}
	context := &tlspb.DownstreamTlsContext{CommonTlsContext: &tlspb.CommonTlsContext{TlsCertificates: []*tlspb.TlsCertificate{certificate}}}
	tests := map[string]proto.Message{
		"certificate": &tlspb.Secret{Name: "public", Type: &tlspb.Secret_TlsCertificate{TlsCertificate: certificate}},
		"ticket keys": &tlspb.Secret{Name: "public", Type: &tlspb.Secret_SessionTicketKeys{SessionTicketKeys: ticket}},
		"generic": &tlspb.Secret{Name: "public", Type: &tlspb.Secret_GenericSecret{
			GenericSecret: &tlspb.GenericSecret{Secret: inline(key), Secrets: map[string]*corepb.DataSource{"a": inline(key)}},
		}},
		"inside an extension": &listenerpb.Listener{Name: "public", FilterChains: []*listenerpb.FilterChain{{
			TransportSocket: &corepb.TransportSocket{ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: pack(t, context)}},
		}}},
		"unknown extension": &listenerpb.Listener{Name: "public", FilterChains: []*listenerpb.FilterChain{{
			TransportSocket: &corepb.TransportSocket{ConfigType: &corepb.TransportSocket_TypedConfig{
				TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/some.Thing", Value: []byte(key)},
			}},
		}}},
	}
	for name, m := range tests {
		t.Run(name, func(t *testing.T) {
			before := proto.Clone(m)
			got, err := redact.JSON(m)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{key, "dmVyeSBzZWNyZXQ"} {
				if bytes.Contains(got, []byte(secret)) {
					t.Errorf("shows the secret: %s", got)
				}
			}
			if !strings.Contains(string(got), "public") {
				t.Errorf("hides the name: %s", got)
			}
			if name != "unknown extension" && !bytes.Contains(got, []byte(redact.Text)) {
				t.Errorf("does not say that something is hidden: %s", got)
			}
			wire, err := proto.Marshal(redact.Message(m))
			if err != nil || bytes.Contains(wire, []byte(key)) {
				t.Errorf("copy holds the secret (error %v)", err)
			}
			if !proto.Equal(before, m) {
				t.Error("changed the original")
			}
		})
	}
}
