package translate

import (
	"google.golang.org/protobuf/types/known/wrapperspb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// connectionManager is HTTP over a route table.
func connectionManager(c *ir.FilterChain) *hcmpb.HttpConnectionManager {
	m := &hcmpb.HttpConnectionManager{
		CodecType: hcmpb.HttpConnectionManager_AUTO,
		// All chains of one listener of the language count together.
		StatPrefix: c.HTTP.RouteTable,
		RouteSpecifier: &hcmpb.HttpConnectionManager_Rds{Rds: &hcmpb.Rds{
			ConfigSource:    ads(),
			RouteConfigName: c.HTTP.RouteTable,
		}},
		HttpFilters: []*hcmpb.HttpFilter{{
			Name: routerName,
			ConfigType: &hcmpb.HttpFilter_TypedConfig{TypedConfig: pack(&routerpb.Router{
				// No x-envoy-* headers towards either side.
				SuppressEnvoyHeaders: true,
			})},
		}},
		CommonHttpProtocolOptions: &corepb.HttpProtocolOptions{
			IdleTimeout:                  duration(c.HTTP.IdleTimeout),
			MaxHeadersCount:              wrapperspb.UInt32(c.HTTP.MaxHeaderCount),
			HeadersWithUnderscoresAction: corepb.HttpProtocolOptions_ALLOW,
		},
		// Envoy drops trailers unless told otherwise. (It also answers 400 to methods that it does not know; what would
		// change that, allow_custom_methods, is not stable, and warns with each listener.)
		HttpProtocolOptions: &corepb.Http1ProtocolOptions{EnableTrailers: true},
		Http2ProtocolOptions: &corepb.Http2ProtocolOptions{
			// WebSocket over HTTP/2 (RFC 8441).
			AllowConnect:                true,
			MaxConcurrentStreams:        wrapperspb.UInt32(c.HTTP.MaxStreams),
			InitialStreamWindowSize:     wrapperspb.UInt32(streamWindow),
			InitialConnectionWindowSize: wrapperspb.UInt32(connectionWindow),
		},
		// A rule that allows something else says so: see upgrades.
		UpgradeConfigs: []*hcmpb.HttpConnectionManager_UpgradeConfig{{UpgradeType: ir.WebSocket}},
		// The upstream's own Server header goes through.
		ServerHeaderTransformation: hcmpb.HttpConnectionManager_PASS_THROUGH,
		MaxRequestHeadersKb:        wrapperspb.UInt32(c.HTTP.MaxHeaderBytes >> 10),
		StreamIdleTimeout:          duration(c.HTTP.IdleTimeout),
		RequestTimeout:             duration(c.HTTP.RequestTimeout),
		RequestHeadersTimeout:      duration(c.HTTP.HeadersTimeout),
		DrainTimeout:               duration(drainTimeout),
		AccessLog:                  accessLogs(c, httpLog),
		// The peer is the client: what a stranger claims in X-Forwarded-For is not trusted.
		UseRemoteAddress:             wrapperspb.Bool(true),
		GenerateRequestId:            wrapperspb.Bool(true),
		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmpb.HttpConnectionManager_KEEP_UNCHANGED,
	}
	if c.HTTP.ForwardClient {
		m.ForwardClientCertDetails = hcmpb.HttpConnectionManager_SANITIZE_SET
		m.SetCurrentClientCertDetails = &hcmpb.HttpConnectionManager_SetCurrentClientCertDetails{
			Subject: wrapperspb.Bool(true), Dns: true, Uri: true,
		}
	}
	if c.HTTP.MaxRequests > 0 {
		m.CommonHttpProtocolOptions.MaxRequestsPerConnection = wrapperspb.UInt32(c.HTTP.MaxRequests)
	}
	return m
}
