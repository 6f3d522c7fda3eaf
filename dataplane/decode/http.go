package decode

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routerpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// What Envoy takes where a connection manager says nothing.
const (
	defaultIdleTimeout       = time.Hour
	defaultStreamIdleTimeout = 5 * time.Minute
	defaultDrainTimeout      = 5 * time.Second
	defaultMaxHeaderKB       = 60
	defaultMaxHeaders        = 100
	defaultMaxStreams        = 1024
	defaultStreamWindow      = 16 << 20
	defaultConnectionWindow  = 24 << 20
	defaultServerName        = "envoy"
)

// http reads an HTTP connection manager.
func (d *decoder) http(at string, m *hcmpb.HttpConnectionManager) *config.HTTP {
	common, h1, h2 := m.GetCommonHttpProtocolOptions(), m.GetHttpProtocolOptions(), m.GetHttp2ProtocolOptions()
	h := &config.HTTP{
		IdleTimeout:           d.duration(at+".common_http_protocol_options.idle_timeout", common.GetIdleTimeout(), defaultIdleTimeout),
		MaxConnectionDuration: d.duration(at+".common_http_protocol_options.max_connection_duration", common.GetMaxConnectionDuration(), 0),
		StreamIdleTimeout:     d.duration(at+".stream_idle_timeout", m.GetStreamIdleTimeout(), defaultStreamIdleTimeout),
		RequestHeadersTimeout: d.duration(at+".request_headers_timeout", m.GetRequestHeadersTimeout(), 0),
		RequestTimeout:        d.duration(at+".request_timeout", m.GetRequestTimeout(), 0),
		DrainTimeout:          d.positive(at+".drain_timeout", m.GetDrainTimeout(), defaultDrainTimeout),

		MaxHeaderBytes:          int(number(m.GetMaxRequestHeadersKb(), defaultMaxHeaderKB)) << 10,
		MaxHeaderCount:          int(number(common.GetMaxHeadersCount(), defaultMaxHeaders)),
		MaxRequests:             common.GetMaxRequestsPerConnection().GetValue(),
		MaxConcurrentStreams:    number(h2.GetMaxConcurrentStreams(), defaultMaxStreams),
		InitialStreamWindow:     number(h2.GetInitialStreamWindowSize(), defaultStreamWindow),
		InitialConnectionWindow: number(h2.GetInitialConnectionWindowSize(), defaultConnectionWindow),

		UseRemoteAddress:             m.GetUseRemoteAddress().GetValue(),
		XffTrustedHops:               m.GetXffNumTrustedHops(),
		GenerateRequestID:            boolean(m.GetGenerateRequestId(), true),
		PreserveRequestID:            m.GetPreserveExternalRequestId(),
		AlwaysSetRequestIDInResponse: m.GetAlwaysSetRequestIdInResponse(),
		NormalizePath:                m.GetNormalizePath().GetValue(),
		MergeSlashes:                 m.GetMergeSlashes(),
		RejectUnderscores:            common.GetHeadersWithUnderscoresAction() == corepb.HttpProtocolOptions_REJECT_REQUEST,
		AcceptHTTP10:                 h1.GetAcceptHttp_10(),
		SuppressEnvoyHeaders:         true,
	}
	switch m.GetCodecType() {
	case hcmpb.HttpConnectionManager_HTTP1:
		h.Codec = config.CodecHTTP1
	case hcmpb.HttpConnectionManager_HTTP2:
		h.Codec = config.CodecHTTP2
	}
	switch m.GetServerHeaderTransformation() {
	case hcmpb.HttpConnectionManager_OVERWRITE:
		h.ServerName, h.ServerOverwrite = serverName(m), true
	case hcmpb.HttpConnectionManager_APPEND_IF_ABSENT:
		h.ServerName = serverName(m)
	case hcmpb.HttpConnectionManager_PASS_THROUGH:
	default:
		d.refuse(at+".server_header_transformation", "got %v: %s", m.GetServerHeaderTransformation(), notSupported)
	}
	if m.GetForwardClientCertDetails() == hcmpb.HttpConnectionManager_SANITIZE_SET {
		what := m.GetSetCurrentClientCertDetails()
		h.ForwardClient = &config.ForwardClient{Subject: what.GetSubject().GetValue(), DNS: what.GetDns(), URI: what.GetUri()}
	}
	h.AllowConnect = h2.GetAllowConnect()
	h.Upgrades = upgrades(d, at, m.GetUpgradeConfigs())
	d.routeSource(at, m, h)
	d.httpFilters(at, m)
	h.AccessLogs = d.accessLogs(at+".access_log", m.GetAccessLog())
	return h
}

// routeSource reads where the routes come from.
func (d *decoder) routeSource(at string, m *hcmpb.HttpConnectionManager, h *config.HTTP) {
	switch s := m.GetRouteSpecifier().(type) {
	case *hcmpb.HttpConnectionManager_Rds:
		if s.Rds.GetRouteConfigName() == "" {
			d.refuse(at+".rds.route_config_name", `got "", want a name`)
		}
		d.configSource(at+".rds.config_source", s.Rds.GetConfigSource())
		h.RouteTableName = s.Rds.GetRouteConfigName()
	case *hcmpb.HttpConnectionManager_RouteConfig:
		h.RouteTable = d.routeConfiguration(at+".route_config", s.RouteConfig)
	default:
		d.missing(at, "got no routes, want rds or route_config")
	}
}

// httpFilters wants the router alone: the walk has refused all others by name.
func (d *decoder) httpFilters(at string, m *hcmpb.HttpConnectionManager) {
	if len(m.GetHttpFilters()) == 0 {
		d.refuse(at+".http_filters", "got none, want %s", router.Name)
	}
	routers := 0
	for i, f := range m.GetHttpFilters() {
		here := fmt.Sprintf("%s.http_filters[%d]", at, i)
		if _, ok := open[*routerpb.Router](d, f.GetTypedConfig()); !ok {
			d.missing(here, "got no type, want %s", router.Name)
		} else if routers++; routers > 1 {
			d.refuse(here, "got %s twice, want it once", router.Name)
		}
	}
}

func serverName(m *hcmpb.HttpConnectionManager) string {
	if m.GetServerName() != "" {
		return m.GetServerName()
	}
	return defaultServerName
}

// number is v, or unset.
func number(v *wrapperspb.UInt32Value, unset uint32) uint32 {
	if v == nil {
		return unset
	}
	return v.GetValue()
}

// boolean is v, or unset.
func boolean(v *wrapperspb.BoolValue, unset bool) bool {
	if v == nil {
		return unset
	}
	return v.GetValue()
}
