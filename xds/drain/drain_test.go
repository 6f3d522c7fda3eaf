package drain

import (
	"slices"
	"testing"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	connectionlimitpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/connection_limit/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlspb "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func filter(t *testing.T, m proto.Message) *listenerpb.Filter {
	return &listenerpb.Filter{Name: string(m.ProtoReflect().Descriptor().Name()), ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: pack(t, m)}}
}

func routes(name string) *hcmpb.HttpConnectionManager {
	return &hcmpb.HttpConnectionManager{StatPrefix: "x", RouteSpecifier: &hcmpb.HttpConnectionManager_Rds{Rds: &hcmpb.Rds{RouteConfigName: name}}}
}

func tls(t *testing.T, certificate string, clients bool) *corepb.TransportSocket {
	m := &tlspb.DownstreamTlsContext{CommonTlsContext: &tlspb.CommonTlsContext{TlsCertificateSdsSecretConfigs: []*tlspb.SdsSecretConfig{{Name: certificate}}}}
	if clients {
		m.RequireClientCertificate = wrapperspb.Bool(true)
	}
	return &corepb.TransportSocket{Name: "tls", ConfigType: &corepb.TransportSocket_TypedConfig{TypedConfig: pack(t, m)}}
}

func chain(t *testing.T, name string, names ...string) *listenerpb.FilterChain {
	return &listenerpb.FilterChain{
		Name: name, FilterChainMatch: &listenerpb.FilterChainMatch{ServerNames: names}, Filters: []*listenerpb.Filter{filter(t, routes("r"))},
		TransportSocket: tls(t, name, false),
	}
}

func TestOf(t *testing.T) {
	type effect struct {
		all    bool
		chains []string
		names  []string
	}
	none, all := effect{}, effect{all: true}
	one := effect{chains: []string{"a"}}
	for name, test := range map[string]struct {
		change        func(*listenerpb.Listener)
		envoy, sluice effect
	}{
		"nothing":       {func(*listenerpb.Listener) {}, none, none},
		"another chain": {func(l *listenerpb.Listener) { l.FilterChains = append(l.FilterChains, chain(t, "c", "c.test")) }, none, effect{names: []string{"c.test"}}},
		"a chain gone":  {func(l *listenerpb.Listener) { l.FilterChains = l.FilterChains[1:] }, one, one},
		"the default gone": {func(l *listenerpb.Listener) { l.DefaultFilterChain = nil },
			effect{chains: []string{"d"}}, effect{chains: []string{"d"}}},
		"another server name": {func(l *listenerpb.Listener) {
			l.FilterChains[0].FilterChainMatch.ServerNames = []string{"a.test", "new.org"}
		}, one, effect{names: []string{"new.org"}}}, // whom the default has served under that name
		"a name goes to another chain": {func(l *listenerpb.Listener) {
			l.FilterChains = append(l.FilterChains, chain(t, "c", "x.b.test"))
		}, none, effect{names: []string{"x.b.test"}}},
		"another certificate":   {func(l *listenerpb.Listener) { l.FilterChains[0].TransportSocket = tls(t, "other", false) }, one, none},
		"clients must show one": {func(l *listenerpb.Listener) { l.FilterChains[0].TransportSocket = tls(t, "a", true) }, one, one},
		"other routes":          {func(l *listenerpb.Listener) { l.FilterChains[0].Filters[0] = filter(t, routes("other")) }, one, none},
		"another HTTP option": {func(l *listenerpb.Listener) {
			m := routes("r")
			m.ServerName = "x"
			l.FilterChains[0].Filters[0] = filter(t, m)
		}, one, one},
		"a limit": {func(l *listenerpb.Listener) {
			l.FilterChains[0].Filters = append([]*listenerpb.Filter{filter(t, &connectionlimitpb.ConnectionLimit{StatPrefix: "x"})}, l.FilterChains[0].Filters...)
		}, one, none},
		"the buffer": {func(l *listenerpb.Listener) { l.PerConnectionBufferLimitBytes = wrapperspb.UInt32(1) }, all, none},
		"the PROXY header": {func(l *listenerpb.Listener) {
			l.ListenerFilters = []*listenerpb.ListenerFilter{{Name: "p", ConfigType: &listenerpb.ListenerFilter_TypedConfig{TypedConfig: pack(t, &proxyprotocolpb.ProxyProtocol{})}}}
		}, all, all},
	} {
		t.Run(name, func(t *testing.T) {
			l := &listenerpb.Listener{Name: "l", FilterChains: []*listenerpb.FilterChain{chain(t, "a", "a.test"), chain(t, "b", "*.b.test")}, DefaultFilterChain: chain(t, "d")}
			l.FilterChains = slices.Clip(l.FilterChains)
			next := proto.CloneOf(l)
			test.change(next)
			envoy, sluice, err := Of(pack(t, l), pack(t, next))
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []struct {
				name string
				got  Effect
				want effect
			}{{"envoy", envoy, test.envoy}, {"sluice", sluice, test.sluice}} {
				if kind.got.All != kind.want.all || !slices.Equal(kind.got.Chains, kind.want.chains) || !slices.Equal(kind.got.Names, kind.want.names) || kind.got.Drains() != (kind.got.Why != "") {
					t.Errorf("%s: got %+v, want %+v", kind.name, kind.got, kind.want)
				}
			}
		})
	}
}

func TestComeAndGo(t *testing.T) {
	l := pack(t, &listenerpb.Listener{Name: "l"})
	if envoy, sluice, err := Of(nil, l); err != nil || envoy.Drains() || sluice.Drains() {
		t.Errorf("a new listener: got %+v, %+v, %v", envoy, sluice, err)
	}
	if envoy, sluice, err := Of(l, nil); err != nil || !envoy.All || !sluice.All {
		t.Errorf("a listener that goes: got %+v, %+v, %v", envoy, sluice, err)
	}
	if _, _, err := Of(l, pack(t, wrapperspb.Bool(true))); err == nil {
		t.Error("no listener at all: got no error")
	}
}
