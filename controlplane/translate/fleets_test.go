package translate

import (
	"net/netip"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// fleets are the inputs of the golden tests: one for each subject.
func fleets() map[string]*ir.Fleet {
	all := written()
	for _, f := range all {
		for i := range f.Clusters {
			// As compile fills it in.
			if c := f.Clusters[i]; c.MaxConnections == 0 {
				c.MaxConnections, c.MaxPending, c.MaxRequests = 100_000, 100_000, 100_000
				if c.Retries == (ir.RetryLimit{}) {
					c.Retries.Max = 100_000
				}
			}
		}
	}
	return all
}

func written() map[string]*ir.Fleet {
	idle := 5 * time.Minute
	http := func(table string) *ir.HTTP {
		return &ir.HTTP{
			RouteTable: table, IdleTimeout: idle,
			MaxHeaderBytes: 60 << 10, MaxHeaderCount: 100, HeadersTimeout: 10 * time.Second, MaxStreams: 100,
		}
	}
	return map[string]*ir.Fleet{
		"empty": {Name: "empty"},

		// One name on one port: the hello world.
		"plain": {
			Name: "default",
			Listeners: []ir.Listener{{
				Name:    "127.0.0.1:8080",
				Address: at("127.0.0.1:8080"),
				Chains:  []ir.FilterChain{{Name: "default/http", HTTP: http("default/http")}},
			}, {
				Name:    "127.0.0.1:8081",
				Address: at("127.0.0.1:8081"),
				Chains:  []ir.FilterChain{{Name: "default/quiet", HTTP: http("default/http"), Unlogged: true}},
			}},
			RouteTables: []*ir.RouteTable{{Name: "default/http", Hosts: []*ir.VirtualHost{{
				Name: "hello.localhost", Host: "hello.localhost",
				Rules: []ir.Rule{{ID: "Route/hello#1f0c", Backends: []ir.Backend{{Cluster: "hello", Weight: 1}}}},
			}}}},
			Clusters: []*ir.Cluster{{
				Name: "hello", ConnectTimeout: 5 * time.Second,
				Endpoints: []ir.Endpoint{{Address: at("127.0.0.1:3000"), Weight: 1}},
			}},
		},

		// Two certificates on one port, a split by weight, and a port that redirects to it.
		"https": {
			Name: "edge",
			Listeners: []ir.Listener{
				{
					Name:    "0.0.0.0:8080",
					Address: at("0.0.0.0:8080"),
					Chains:  []ir.FilterChain{{Name: "web/http", HTTP: http("web/http")}},
				},
				{
					Name:    "[::]:8443",
					Address: at("[::]:8443"),
					Chains: []ir.FilterChain{
						{Name: "web/https/api", ServerNames: []string{"api.example.com"}, Certificate: "api", HTTP: http("web/https")},
						{Name: "web/https/shop", ServerNames: []string{"*.example.com", "example.com"}, Certificate: "shop", HTTP: http("web/https")},
					},
					Default: &ir.FilterChain{Name: "web/https/default", Certificate: "shop", HTTP: http("web/https")},
				},
			},
			RouteTables: []*ir.RouteTable{
				{Name: "web/http", Hosts: []*ir.VirtualHost{{Name: "*", Host: "*", Rules: []ir.Rule{
					{ID: "Gateway/web#http", Redirect: &ir.Redirect{Scheme: "https", Port: 8443, Status: 301}},
				}}}},
				{Name: "web/https", Hosts: []*ir.VirtualHost{
					{Name: "*.example.com", Host: "*.example.com", Rules: []ir.Rule{{
						ID: "Route/shop#all", Timeout: 30 * time.Second, IdleTimeout: new(90 * time.Second), Mirrors: []ir.Mirror{{Cluster: "dice", Fraction: 125_000}},
						Backends: []ir.Backend{{Cluster: "shop-v1", Weight: 90}, {Cluster: "shop-v2", Weight: 10}, {Cluster: "shop-v3", Weight: 0}},
					}}},
					{Name: "api.example.com", Host: "api.example.com", Rules: []ir.Rule{{
						ID: "Route/api#all", Backends: []ir.Backend{{Cluster: "api", Weight: 1}},
					}}},
				}},
			},
			Clusters: []*ir.Cluster{
				{
					Name: "api", ConnectTimeout: 250 * time.Millisecond, HTTP2: true, Policy: ir.LeastRequest, ChoiceCount: 3,
					Endpoints: []ir.Endpoint{
						{Address: at("10.0.0.1:8080"), Weight: 1},
						{Address: at("[2001:db8::2]:8080"), Weight: 2},
						{Address: ir.Address{Path: "/run/app.sock"}, Weight: 3},
					},
				},
				{Name: "shop-v1", ConnectTimeout: 5 * time.Second, Endpoints: []ir.Endpoint{{Address: at("10.0.1.1:80"), Weight: 1}}},
				{
					Name: "sticky", ConnectTimeout: 5 * time.Second, Policy: ir.RingHash, MinRingSize: 1024, MaxRingSize: 1 << 20,
					HashOn: []ir.HashKey{
						{Kind: ir.HashHeader, Name: "x-user", Terminal: true},
						{Kind: ir.HashCookie, Name: "session", MakeCookie: true, TTL: time.Hour, Path: "/"},
						{Kind: ir.HashCookie, Name: "other"},
						{Kind: ir.HashQueryParam, Name: "user"},
						{Kind: ir.HashSourceAddress},
					},
					Endpoints: []ir.Endpoint{{Address: at("10.0.2.1:80"), Weight: 1, HashKey: "one"}},
				},
				{Name: "table", ConnectTimeout: 5 * time.Second, Policy: ir.Maglev, TableSize: 65537, HashOn: []ir.HashKey{{Kind: ir.HashCookie, Name: "s", MakeCookie: true}}},
				{
					Name: "named", ConnectTimeout: 5 * time.Second,
					DNS: &ir.DNS{Family: ir.FamilyBoth, RespectTTL: true, Refresh: 5 * time.Second, Resolvers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53")}},
					Endpoints: []ir.Endpoint{
						{Address: ir.Address{Host: "app.internal", NamedPort: 8080}, Weight: 2},
						{Address: at("10.0.2.9:80"), Weight: 1},
					},
				},
				{
					Name: "first", ConnectTimeout: 5 * time.Second, DNS: &ir.DNS{First: true, Refresh: time.Minute},
					Endpoints: []ir.Endpoint{{Address: ir.Address{Host: "app.internal", NamedPort: 8080}, Weight: 1}},
				},
				{Name: "dice", ConnectTimeout: 5 * time.Second, Policy: ir.Random},
				// A Service without endpoints has an assignment all the same.
				{Name: "shop-v2", ConnectTimeout: 5 * time.Second},
				{Name: "shop-v3", ConnectTimeout: 5 * time.Second},
			},
			Certificates: []ir.Certificate{
				{Name: "api", Chain: []byte("the chain of api\n"), Key: ir.Secret("the key of api\n")},
				{Name: "shop", Chain: []byte("the chain of shop\n"), Key: ir.Secret("the key of shop\n")},
			},
			TicketKeys: []ir.Secret{
				ir.Secret(strings.Repeat("the key of tickets 1", 4)), ir.Secret(strings.Repeat("the key of tickets 2", 4)),
			},
		},

		// What a stranger may cost, on HTTP and on TCP.
		"proxy-protocol": {
			Name: "default",
			Listeners: []ir.Listener{
				{
					Name: "0.0.0.0:8443", Address: at("0.0.0.0:8443"), ProxyProtocol: ir.ProxyHeaderRequired,
					Chains: []ir.FilterChain{{
						Name: "web/https/c", ServerNames: []string{"a.example.com"}, Certificate: "c",
						TCP: &ir.TCP{Backends: []ir.Backend{{Cluster: "v1", Weight: 1}}},
					}},
				},
				{
					Name: "0.0.0.0:9000", Address: at("0.0.0.0:9000"), ProxyProtocol: ir.ProxyHeaderOptional,
					Chains: []ir.FilterChain{{Name: "web/tcp", TCP: &ir.TCP{Backends: []ir.Backend{{Cluster: "v2", Weight: 1}}}}},
				},
			},
			Clusters: []*ir.Cluster{
				{Name: "v1", ConnectTimeout: 5 * time.Second, ProxyProtocol: 1},
				{Name: "v2", ConnectTimeout: 5 * time.Second, ProxyProtocol: 2},
			},
		},
		"limits": {
			Name: "edge",
			Listeners: []ir.Listener{
				{
					Name:    "0.0.0.0:5432",
					Address: at("0.0.0.0:5432"),
					Chains: []ir.FilterChain{{
						Name: "web/db", TCP: &ir.TCP{Backends: []ir.Backend{{Cluster: "db", Weight: 1}}, IdleTimeout: idle}, MaxConnections: 20,
					}},
				},
				{
					Name:    "0.0.0.0:8080",
					Address: at("0.0.0.0:8080"),
					Chains: []ir.FilterChain{{Name: "web/http", MaxConnections: 10_000, HTTP: &ir.HTTP{
						RouteTable: "web/http", IdleTimeout: idle,
						MaxHeaderBytes: 8 << 10, MaxHeaderCount: 50, HeadersTimeout: 0, RequestTimeout: 90 * time.Second,
						MaxStreams: 32, MaxRequests: 1000,
					}}},
				},
			},
			RouteTables: []*ir.RouteTable{{Name: "web/http"}},
			Clusters:    []*ir.Cluster{{Name: "db", ConnectTimeout: 5 * time.Second}},
		},

		"matches": {
			Name: "default",
			Listeners: []ir.Listener{{
				Name:    "0.0.0.0:8080",
				Address: at("0.0.0.0:8080"),
				// 0 is never.
				Chains: []ir.FilterChain{{Name: "web/http", HTTP: &ir.HTTP{
					RouteTable: "web/http", MaxHeaderBytes: 60 << 10, MaxHeaderCount: 100, HeadersTimeout: 10 * time.Second, MaxStreams: 100,
				}}},
			}},
			RouteTables: []*ir.RouteTable{{Name: "web/http", Hosts: []*ir.VirtualHost{{Name: "*", Host: "*", Rules: []ir.Rule{
				rule("exact", ir.Match{PathKind: ir.PathExact, Path: "/exact"}),
				rule("prefix", ir.Match{PathKind: ir.PathPrefix, Path: "/api"}),
				rule("raw", ir.Match{PathKind: ir.PathRawPrefix, Path: "/raw"}),
				rule("method", ir.Match{Method: "POST"}),
				rule("headers", ir.Match{
					PathKind: ir.PathPrefix, Path: "/a/b", Method: "GET",
					Headers: []ir.HeaderMatch{{Name: "x-beta", Text: ir.Text{Value: "1"}}, {Name: "host", Text: ir.Text{Value: "a.example.com"}}},
				}),
				rule("regex", ir.Match{PathKind: ir.PathRegex, Path: "/v[0-9]+/.*"}),
				rule("values", ir.Match{
					Headers: []ir.HeaderMatch{
						{Name: "a", Text: ir.Text{Kind: ir.TextPrefix, Value: "p"}}, {Name: "b", Text: ir.Text{Kind: ir.TextSuffix, Value: "s"}, Invert: true},
						{Name: "c", Text: ir.Text{Kind: ir.TextContains, Value: "c"}}, {Name: "d", Text: ir.Text{Kind: ir.TextRegex, Value: "r+"}},
						{Name: "e", Text: ir.Text{Kind: ir.TextPresent}}, {Name: "f", Text: ir.Text{Kind: ir.TextAbsent}},
					},
					Query: []ir.QueryMatch{
						{Name: "a", Text: ir.Text{Value: "1"}}, {Name: "b", Text: ir.Text{Kind: ir.TextRegex, Value: "[0-9]+"}},
						{Name: "c", Text: ir.Text{Kind: ir.TextPresent}}, {Name: "d", Text: ir.Text{Kind: ir.TextAbsent}},
					},
				}),
				rule("grpc", ir.Match{PathKind: ir.PathExact, Path: "/shop.v1.Carts/Get", Method: "POST", GRPC: true}),
				rule("source", ir.Match{Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::1/128")}}),
				rule("fraction", ir.Match{Fraction: new(uint32(5000))}),
				rewriting("rewrite-host", ir.Match{}, ir.Rewrite{Host: "in.example.com:8080"}),
				rewriting("rewrite-prefix", ir.Match{PathKind: ir.PathPrefix, Path: "/a"}, ir.Rewrite{Prefix: "/b/"}),
				rewriting("rewrite-to-root", ir.Match{PathKind: ir.PathPrefix, Path: "/a", Method: "GET"}, ir.Rewrite{Prefix: "/", Host: "x.test"}),
				rewriting("rewrite-any", ir.Match{}, ir.Rewrite{Prefix: "/b"}),
				rewriting("rewrite-raw", ir.Match{PathKind: ir.PathRawPrefix, Path: "/a"}, ir.Rewrite{Prefix: "/b/"}),
				rewriting("rewrite-exact", ir.Match{PathKind: ir.PathExact, Path: "/a"}, ir.Rewrite{Prefix: "/b/"}),
				rewriting("rewrite-path", ir.Match{PathKind: ir.PathPrefix, Path: "/a"}, ir.Rewrite{Path: `/b\c`}),
				rewriting("rewrite-path-exact", ir.Match{PathKind: ir.PathExact, Path: "/a"}, ir.Rewrite{Path: `/b\c`}),
				rewriting("rewrite-regex", ir.Match{}, ir.Rewrite{Pattern: "^/v([0-9])", Substitution: `/\1`}),
				{ID: "Route/web#redirect-path", Match: ir.Match{PathKind: ir.PathPrefix, Path: "/a"}, Redirect: &ir.Redirect{Path: "/b", StripQuery: true, Host: "x.test"}},
				{ID: "Route/web#redirect-prefix", Match: ir.Match{PathKind: ir.PathPrefix, Path: "/a"}, Redirect: &ir.Redirect{Prefix: "/b/", Host: "x.test"}},
				{ID: "Route/web#redirect-to-root", Match: ir.Match{PathKind: ir.PathPrefix, Path: "/a"}, Redirect: &ir.Redirect{Prefix: "/", Host: "x.test"}},
				{
					ID: "Route/web#headers", Redirect: &ir.Redirect{Host: "x.test"},
					RequestHeaders:  &ir.HeaderChanges{Remove: []string{"a", "b"}},
					ResponseHeaders: &ir.HeaderChanges{Set: []ir.HeaderValue{{Name: "c", Value: "1"}}, Add: []ir.HeaderValue{{Name: "d", Value: "100%%"}, {Name: "d", Value: "2"}}},
				},
				{ID: "Gateway/web#421", Match: ir.Match{PathKind: ir.PathExact, Path: "/misdirected"}, Respond: &ir.Response{Status: 421, Body: "{}", ContentType: "application/json; a=%"}},
				{ID: "Gateway/web#long", Respond: &ir.Response{Status: 404, Body: strings.Repeat("long ", 1000)}},
			}}}}},
			Clusters: []*ir.Cluster{{Name: "web", ConnectTimeout: 5 * time.Second}},
		},

		"tls": {
			Name: "edge",
			Listeners: []ir.Listener{{
				Name:    "0.0.0.0:443",
				Address: at("0.0.0.0:443"),
				Chains: []ir.FilterChain{
					{Name: "web/any/default", Passthrough: true, MaxConnections: 9, TCP: &ir.TCP{Backends: []ir.Backend{{Cluster: "passed", Weight: 1}}}},
					{Name: "web/ended/shop", ServerNames: []string{"shop.test"}, Certificate: "shop", TCP: &ir.TCP{Backends: []ir.Backend{{Cluster: "passed", Weight: 1}}, IdleTimeout: time.Minute}},
					{Name: "web/passed", ServerNames: []string{"*.a.test", "a.test"}, Passthrough: true, TCP: &ir.TCP{Backends: []ir.Backend{{Cluster: "passed", Weight: 1}}}},
				},
			}},
			Clusters:     []*ir.Cluster{{Name: "passed", ConnectTimeout: 5 * time.Second}},
			Certificates: []ir.Certificate{{Name: "shop", Chain: []byte("the chain of shop\n"), Key: ir.Secret("the key of shop\n")}},
		},

		// Zones, priorities and panic, of policies that hash and that do not.
		"zones": {
			Name: "zones",
			Clusters: []*ir.Cluster{
				{
					Name: "hashed", ConnectTimeout: 5 * time.Second, Policy: ir.RingHash, MinRingSize: 1024, MaxRingSize: 1024,
					HashOn: []ir.HashKey{{Kind: ir.HashSourceAddress}}, ZoneWeights: map[string]uint32{"a": 1},
					Endpoints: []ir.Endpoint{{Address: at("10.0.0.1:80"), Weight: 1, Zone: "a"}},
				},
				{
					Name: "least", ConnectTimeout: 5 * time.Second, Policy: ir.LeastRequest, ChoiceCount: 2,
					SlowStart: &ir.SlowStart{Window: time.Minute, Aggression: 1, MinWeight: 10},
				},
				{
					Name: "weighted", ConnectTimeout: 5 * time.Second, PanicThreshold: 50, ZoneWeights: map[string]uint32{"a": 0, "b": 7},
					SlowStart: &ir.SlowStart{Window: 1500 * time.Millisecond, Aggression: 1.5, MinWeight: 1},
					Endpoints: []ir.Endpoint{
						{Address: at("10.0.0.1:80"), Weight: 1, Zone: "b", Priority: 1},
						{Address: at("10.0.0.2:80"), Weight: 1, Zone: "b"},
						{Address: at("10.0.0.3:80"), Weight: 3, Zone: "a"},
						{Address: at("10.0.0.4:80"), Weight: 1, Zone: "b"},
					},
				},
			},
		},

		// Health checks of each kind, and who is taken out.
		"health": {
			Name: "health",
			Clusters: []*ir.Cluster{
				{
					Name: "asked", ConnectTimeout: 5 * time.Second,
					HealthCheck: &ir.HealthCheck{
						HTTP:     &ir.HTTPCheck{Method: "HEAD", Path: "/healthz", Host: "asked", Statuses: []ir.StatusRange{{First: 200, Last: 299}, {First: 401, Last: 401}}},
						Interval: 2 * time.Second, UnhealthyInterval: 500 * time.Millisecond, Jitter: 50 * time.Millisecond, Timeout: time.Second,
						HealthyThreshold: 2, UnhealthyThreshold: 3,
					},
					Outliers: &ir.Outliers{Consecutive5xx: 5, Interval: 10 * time.Second, BaseTime: 30 * time.Second, MaxTime: 5 * time.Minute, MaxPercent: 50},
				},
				{
					Name: "called", ConnectTimeout: 5 * time.Second, HTTP2: true,
					HealthCheck: &ir.HealthCheck{
						GRPC:     &ir.GRPCCheck{Service: "shop.v1.Cart", Authority: "called"},
						Interval: time.Second, UnhealthyInterval: time.Second, Timeout: time.Second, HealthyThreshold: 1, UnhealthyThreshold: 1,
					},
					TLS:      &ir.UpstreamTLS{ServerName: "called.example.com"},
					Outliers: &ir.Outliers{ConsecutiveGateway: 3, Interval: time.Second, BaseTime: time.Second, MaxTime: time.Second, MaxPercent: 100},
				},
				{
					Name: "connected", ConnectTimeout: 5 * time.Second,
					HealthCheck: &ir.HealthCheck{Interval: time.Second, UnhealthyInterval: time.Second, Timeout: time.Second, HealthyThreshold: 1, UnhealthyThreshold: 1},
				},
			},
		},

		"retries": {
			Name:      "retries",
			Listeners: []ir.Listener{{Name: "0.0.0.0:80", Address: at("0.0.0.0:80"), Chains: []ir.FilterChain{{Name: "web/http", HTTP: http("web/http")}}}},
			RouteTables: []*ir.RouteTable{{Name: "web/http", Hosts: []*ir.VirtualHost{{Name: "*", Host: "*", Rules: []ir.Rule{
				retrying("any-method", ir.Match{}, ir.Retry{Conditions: []string{"5xx", "retriable-4xx"}, PerTryTimeout: time.Second}),
				retrying("get", ir.Match{Method: "GET"}, ir.Retry{Conditions: []string{"5xx"}, StatusCodes: []uint32{429}}),
				retrying("post", ir.Match{Method: "POST"}, ir.Retry{Conditions: []string{"5xx"}, StatusCodes: []uint32{429}}),
				retrying("post-of-codes", ir.Match{Method: "POST"}, ir.Retry{StatusCodes: []uint32{429}}),
				retrying("grpc", ir.Match{GRPC: true}, ir.Retry{Conditions: []string{"5xx", "unavailable"}}),
				retrying("grpc-twice", ir.Match{GRPC: true}, ir.Retry{Conditions: []string{"5xx", "unavailable"}, NonIdempotent: true}),
				retrying("untouched", ir.Match{}, ir.Retry{Conditions: []string{"connect-failure"}, SameEndpoint: true}),
				retrying("codes", ir.Match{}, ir.Retry{Conditions: []string{"connect-failure"}, StatusCodes: []uint32{429}}),
			}}}}},
			Clusters: []*ir.Cluster{
				{Name: "web", ConnectTimeout: 5 * time.Second},
				{Name: "web-budget", ConnectTimeout: 5 * time.Second, Retries: ir.RetryLimit{Budget: &ir.RetryBudget{Percent: 12.5, Least: 1}}},
				{Name: "web-max", ConnectTimeout: 5 * time.Second, Retries: ir.RetryLimit{Max: 7}},
				{Name: "web-none", ConnectTimeout: 5 * time.Second, MaxConnections: 1, MaxPending: 2, MaxRequests: 3},
			},
		},

		"mtls": {
			Name: "edge",
			Listeners: []ir.Listener{{
				Name:    "0.0.0.0:443",
				Address: at("0.0.0.0:443"),
				Chains: []ir.FilterChain{
					{
						Name: "web/named/shop", ServerNames: []string{"named.test"}, Certificate: "shop",
						TCP: &ir.TCP{Backends: []ir.Backend{{Cluster: "one", Weight: 1}}},
						Clients: &ir.Clients{Optional: true, Validation: ir.Validation{TrustBundle: "ca", Names: []ir.AltName{
							{Text: ir.Text{Value: "a.test"}}, {Kind: ir.AltURI, Text: ir.Text{Kind: ir.TextPrefix, Value: "spiffe://a/"}}, {Kind: ir.AltEmail, Text: ir.Text{Value: "a@a.test"}},
						}}},
					},
					{
						Name: "web/shop/shop", ServerNames: []string{"shop.test"}, Certificate: "shop",
						HTTP:    &ir.HTTP{RouteTable: "web/shop", MaxHeaderBytes: 60 << 10, MaxHeaderCount: 100, MaxStreams: 100, ForwardClient: true},
						Clients: &ir.Clients{Validation: ir.Validation{TrustBundle: "ca"}},
					},
				},
			}},
			RouteTables:  []*ir.RouteTable{{Name: "web/shop"}},
			Clusters:     []*ir.Cluster{{Name: "one", ConnectTimeout: 5 * time.Second}},
			Certificates: []ir.Certificate{{Name: "shop", Chain: []byte("the chain of shop\n"), Key: ir.Secret("the key of shop\n")}},
			TrustBundles: []ir.TrustBundle{{Name: "ca", Authorities: []byte("the authorities\n")}},
		},

		"upstream-tls": {
			Name: "edge",
			Clusters: []*ir.Cluster{
				{Name: "any", ConnectTimeout: 5 * time.Second, TLS: &ir.UpstreamTLS{}},
				{Name: "mutual", ConnectTimeout: 5 * time.Second, HTTP2: true, ProxyProtocol: 2, TLS: &ir.UpstreamTLS{
					ServerName: "api.test", Certificate: "edge",
					Validation: &ir.Validation{TrustBundle: "ca", Names: []ir.AltName{{Text: ir.Text{Value: "api.test"}}}},
				}},
			},
			Certificates: []ir.Certificate{{Name: "edge", Chain: []byte("the chain of edge\n"), Key: ir.Secret("the key of edge\n")}},
			TrustBundles: []ir.TrustBundle{{Name: "ca", Authorities: []byte("the authorities\n")}},
		},

		"tcp": {
			Name: "db",
			Listeners: []ir.Listener{
				{
					Name:    "[::1]:5432",
					Address: at("[::1]:5432"),
					Chains: []ir.FilterChain{{Name: "db/postgres", TCP: &ir.TCP{
						Backends: []ir.Backend{{Cluster: "postgres", Weight: 7}},
					}}},
				},
				{
					Name:    "unix:/run/db.sock",
					Address: ir.Address{Path: "/run/db.sock"}, Mode: 0o660,
					Chains: []ir.FilterChain{{Name: "db/local", TCP: &ir.TCP{Backends: []ir.Backend{{Cluster: "postgres", Weight: 1}}}}},
				},
				{
					Name:    "[::]:6379",
					Address: at("[::]:6379"),
					Chains: []ir.FilterChain{{Name: "db/redis", Unlogged: true, TCP: &ir.TCP{
						Backends:    []ir.Backend{{Cluster: "redis-a", Weight: 1}, {Cluster: "redis-b", Weight: 3}, {Cluster: "redis-c", Weight: 0}},
						IdleTimeout: time.Hour,
					}}},
				},
			},
			Clusters: []*ir.Cluster{
				{Name: "postgres", ConnectTimeout: 5 * time.Second, Endpoints: []ir.Endpoint{{Address: at("10.0.0.5:5432"), Weight: 1}}},
				{Name: "redis-a", ConnectTimeout: 5 * time.Second, Endpoints: []ir.Endpoint{{Address: at("10.0.0.6:6379"), Weight: 1}}},
				{Name: "redis-b", ConnectTimeout: 5 * time.Second, Endpoints: []ir.Endpoint{{Address: at("10.0.0.7:6379"), Weight: 1}}},
				{Name: "redis-c", ConnectTimeout: 5 * time.Second},
			},
		},
	}
}

func rewriting(name string, m ir.Match, w ir.Rewrite) ir.Rule {
	r := rule(name, m)
	r.Rewrite = &w
	return r
}

func retrying(name string, m ir.Match, t ir.Retry) ir.Rule {
	t.Attempts, t.BackOffBase, t.BackOffMax, t.BodyBytes = 2, 25*time.Millisecond, 250*time.Millisecond, 64<<10
	r := rule(name, m)
	r.Retry = &t
	return r
}

func rule(name string, m ir.Match) ir.Rule {
	return ir.Rule{ID: "Route/web#" + name, Match: m, Backends: []ir.Backend{{Cluster: "web", Weight: 1}}}
}

func at(address string) ir.Address { return ir.Address{AddrPort: netip.MustParseAddrPort(address)} }
