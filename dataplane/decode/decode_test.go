package decode

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/sluice-proxy/sluice/xds/resource"
)

func pack(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newer is a field that no proto of today has.
func newer(number protowire.Number) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), 1)
}

// minimal is a listener that is taken, with the messages in it, for tests to change.
func minimal(t testing.TB, change func(*listenerpb.Listener, *hcmpb.HttpConnectionManager, *routerpb.Router)) *anypb.Any {
	t.Helper()
	router := &routerpb.Router{SuppressEnvoyHeaders: true}
	hcm := &hcmpb.HttpConnectionManager{StatPrefix: "x", RouteSpecifier: &hcmpb.HttpConnectionManager_Rds{Rds: &hcmpb.Rds{
		RouteConfigName: "web",
		ConfigSource:    &corepb.ConfigSource{ConfigSourceSpecifier: &corepb.ConfigSource_Ads{Ads: &corepb.AggregatedConfigSource{}}},
	}}}
	l := &listenerpb.Listener{
		Name: "x",
		Address: &corepb.Address{Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: 80},
		}}},
		ListenerFiltersTimeout: durationpb.New(1),
	}
	change(l, hcm, router)
	hcm.HttpFilters = []*hcmpb.HttpFilter{{Name: "r", ConfigType: &hcmpb.HttpFilter_TypedConfig{TypedConfig: pack(t, router)}}}
	l.FilterChains = []*listenerpb.FilterChain{{Filters: []*listenerpb.Filter{{
		Name: "h", ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: pack(t, hcm)},
	}}}}
	return pack(t, l)
}

// A field of a newer Envoy is refused wherever it stands: nothing is silently ignored.
func TestUnknownFields(t *testing.T) {
	tests := map[string]struct {
		change func(*listenerpb.Listener, *hcmpb.HttpConnectionManager, *routerpb.Router)
		want   string
	}{
		"none": {func(*listenerpb.Listener, *hcmpb.HttpConnectionManager, *routerpb.Router) {}, ""},
		"at the top": {
			func(l *listenerpb.Listener, _ *hcmpb.HttpConnectionManager, _ *routerpb.Router) {
				l.ProtoReflect().SetUnknown(newer(1234))
			},
			`listener "x": unknown field number 1234: envoy.config.listener.v3.Listener knows no such field: not supported by sluice-proxy`,
		},
		"in a message": {
			func(l *listenerpb.Listener, _ *hcmpb.HttpConnectionManager, _ *routerpb.Router) {
				l.GetAddress().GetSocketAddress().ProtoReflect().SetUnknown(newer(99))
			},
			`address.socket_address.unknown field number 99: envoy.config.core.v3.SocketAddress knows`,
		},
		"in a duration": {
			func(l *listenerpb.Listener, _ *hcmpb.HttpConnectionManager, _ *routerpb.Router) {
				l.GetListenerFiltersTimeout().ProtoReflect().SetUnknown(newer(3))
			},
			`listener_filters_timeout.unknown field number 3: google.protobuf.Duration knows`,
		},
		"in an extension": {
			func(_ *listenerpb.Listener, m *hcmpb.HttpConnectionManager, _ *routerpb.Router) {
				m.ProtoReflect().SetUnknown(newer(77))
			},
			`filter_chains[0].filters[0].typed_config.unknown field number 77: envoy`,
		},
		"in an extension's message": {
			func(_ *listenerpb.Listener, m *hcmpb.HttpConnectionManager, _ *routerpb.Router) {
				m.GetRds().GetConfigSource().GetAds().ProtoReflect().SetUnknown(newer(5))
			},
			`filter_chains[0].filters[0].typed_config.rds.config_source.ads.unknown field number 5: envoy`,
		},
		"in an extension of an extension": {
			func(_ *listenerpb.Listener, _ *hcmpb.HttpConnectionManager, r *routerpb.Router) {
				r.ProtoReflect().SetUnknown(newer(5000))
			},
			`typed_config.http_filters[0].typed_config.unknown field number 5000: envoy`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Listener(minimal(t, test.change))
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestNotAResource(t *testing.T) {
	tests := map[string]struct {
		in   *anypb.Any
		want string
	}{
		"nil":        {nil, `cluster "": got type "", want type.googleapis.com/envoy.config.cluster.v3.Cluster`},
		"other type": {&anypb.Any{TypeUrl: resource.RouteType}, `cluster "": got type "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", want`},
		"garbage":    {&anypb.Any{TypeUrl: resource.ClusterType, Value: []byte{0xff}}, `cluster "": want a serialized envoy.config.cluster.v3.Cluster`},
		"too large":  {&anypb.Any{TypeUrl: resource.ClusterType, Value: make([]byte, MaxResourceBytes+1)}, `cluster "": got 16777217 bytes, want at most 16777216`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Cluster(test.in)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got %v, want %q at its beginning", err, test.want)
			}
		})
	}
}

func TestName(t *testing.T) {
	for want, r := range map[string]*anypb.Any{
		"c": pack(t, &clusterpb.Cluster{Name: "c"}),
		"a": pack(t, &endpointpb.ClusterLoadAssignment{ClusterName: "a"}),
		"s": pack(t, &tlspb.Secret{Name: "s"}),
	} {
		if got, err := Name(r); err != nil || got != want {
			t.Errorf("got %q and error %v, want %q", got, err, want)
		}
	}
	if _, err := Name(pack(t, &corepb.Address{})); err == nil {
		t.Error("got no error for a message that is no resource")
	}
	if _, err := Name(&anypb.Any{TypeUrl: resource.ClusterType, Value: []byte{0xff}}); err == nil {
		t.Error("got no error for garbage")
	}
}

// However much is wrong, the text of a NACK stays short, and tells what it leaves out.
func TestErrorIsBounded(t *testing.T) {
	m := &endpointpb.ClusterLoadAssignment{ClusterName: strings.Repeat("n", 10_000), Endpoints: []*endpointpb.LocalityLbEndpoints{{}}}
	for range 1000 {
		m.Endpoints[0].LbEndpoints = append(m.Endpoints[0].LbEndpoints, &endpointpb.LbEndpoint{
			HostIdentifier: &endpointpb.LbEndpoint_EndpointName{EndpointName: strings.Repeat("x\n", 1000)},
		})
	}
	_, err := Assignment(pack(t, m))
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error", err)
	}
	if len(e.Refusals) != maxRefusals || e.More != 1000-maxRefusals {
		t.Errorf("got %d refusals and %d more, want %d and %d", len(e.Refusals), e.More, maxRefusals, 1000-maxRefusals)
	}
	if n := len(err.Error()); n > 5000 {
		t.Errorf("got %d bytes, want at most 5000", n)
	}
	if strings.Contains(err.Error(), "\n") || !strings.HasSuffix(err.Error(), "; and 990 more") {
		t.Errorf("got %s", err)
	}
}

func TestCertificate(t *testing.T) {
	chain, key := keyPair(t)
	_, otherKey := keyPair(t)
	secret := func(key []byte) *anypb.Any {
		return pack(t, &tlspb.Secret{Name: "shop", Type: &tlspb.Secret_TlsCertificate{TlsCertificate: &tlspb.TlsCertificate{
			CertificateChain: &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: chain}},
			PrivateKey:       &corepb.DataSource{Specifier: &corepb.DataSource_InlineString{InlineString: string(key)}},
		}}})
	}
	s, err := SecretOf(secret(key))
	if err != nil {
		t.Fatal(err)
	}
	c := s.Certificate
	if s.TicketKeys != nil || c.Name != "shop" || !bytes.Equal(c.Chain, chain) || !bytes.Equal(c.Key, key) {
		t.Errorf("got %v", c)
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, string(key)) {
		t.Error("shows the key")
	}
	_, err = SecretOf(secret(otherKey))
	if want := `secret "shop": tls_certificate: private key does not match the certificate of ""`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	for _, key := range [][]byte{key, otherKey} {
		text, err := Dump("", secret(key))
		if err != nil || bytes.Contains(text, key[30:60]) || !bytes.Contains(text, []byte(`"[redacted]"`)) {
			t.Errorf("got %s and error %v, want the key redacted", text, err)
		}
	}
}

func TestTicketKeys(t *testing.T) {
	first, second := bytes.Repeat([]byte("1"), 80), bytes.Repeat([]byte("2"), 80)
	secret := pack(t, &tlspb.Secret{Name: "tickets", Type: &tlspb.Secret_SessionTicketKeys{SessionTicketKeys: &tlspb.TlsSessionTicketKeys{
		Keys: []*corepb.DataSource{
			{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: first}},
			{Specifier: &corepb.DataSource_InlineString{InlineString: string(second)}},
		},
	}}})
	s, err := SecretOf(secret)
	if err != nil {
		t.Fatal(err)
	}
	k := s.TicketKeys
	if s.Certificate != nil || k.Name != "tickets" || len(k.Keys) != 2 || !bytes.Equal(k.Keys[0], first) || !bytes.Equal(k.Keys[1], second) {
		t.Errorf("got %v", k)
	}
	dump, err := Dump("", secret)
	if err != nil || !bytes.Contains(dump, []byte(`"[redacted]"`)) {
		t.Errorf("got %s and error %v, want the keys redacted", dump, err)
	}
	for _, shown := range []string{"1111", "2222", "MTEx", "MjIy"} {
		if text := fmt.Sprintf("%v %+v %#v %s", k, k, k, dump); strings.Contains(text, shown) {
			t.Errorf("shows a key: %s", text)
		}
	}
}

func TestDump(t *testing.T) {
	c := pack(t, &clusterpb.Cluster{Name: "api"})
	for name, r := range map[string]*anypb.Any{"its own type": c, "type apart": {Value: c.GetValue()}} {
		text, err := Dump(resource.ClusterType, r)
		if err != nil || !bytes.Contains(text, []byte("api")) || !bytes.Contains(text, []byte(resource.ClusterType)) {
			t.Errorf("%s: got %s and error %v", name, text, err)
		}
	}
}

// A certificate may stand in the listener itself.
func TestInlineCertificate(t *testing.T) {
	chain, key := keyPair(t)
	r := minimal(t, func(*listenerpb.Listener, *hcmpb.HttpConnectionManager, *routerpb.Router) {})
	var l listenerpb.Listener
	if err := r.UnmarshalTo(&l); err != nil {
		t.Fatal(err)
	}
	l.FilterChains[0].TransportSocket = &corepb.TransportSocket{Name: "t", ConfigType: &corepb.TransportSocket_TypedConfig{
		TypedConfig: pack(t, &tlspb.DownstreamTlsContext{CommonTlsContext: &tlspb.CommonTlsContext{TlsCertificates: []*tlspb.TlsCertificate{{
			CertificateChain: &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: chain}},
			PrivateKey:       &corepb.DataSource{Specifier: &corepb.DataSource_InlineBytes{InlineBytes: key}},
		}}}}),
	}}
	got, err := Listener(pack(t, &l))
	if err != nil {
		t.Fatal(err)
	}
	if certificates := got.Chains[0].TLS.Certificates; len(certificates) != 1 || !bytes.Equal(certificates[0].Key, key) {
		t.Errorf("got %v, want the certificate", certificates)
	}
}

// One endpoint's change in a large service must cost little.
func BenchmarkAssignment(b *testing.B) {
	m := &endpointpb.ClusterLoadAssignment{ClusterName: "api", Endpoints: []*endpointpb.LocalityLbEndpoints{{}}}
	for i := range 10_000 {
		m.Endpoints[0].LbEndpoints = append(m.Endpoints[0].LbEndpoints, &endpointpb.LbEndpoint{
			HostIdentifier: &endpointpb.LbEndpoint_Endpoint{Endpoint: &endpointpb.Endpoint{
				Address: &corepb.Address{Address: &corepb.Address_SocketAddress{SocketAddress: &corepb.SocketAddress{
					Address: fmt.Sprintf("10.0.%d.%d", i/250, i%250), PortSpecifier: &corepb.SocketAddress_PortValue{PortValue: 80},
				}}},
			}},
		})
	}
	r := pack(b, m)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Assignment(r); err != nil {
			b.Fatal(err)
		}
	}
}
