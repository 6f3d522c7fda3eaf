package decode

import "github.com/sluice-proxy/sluice/xds/resource"

// Extensions that this proxy has.
var (
	tlsInspector    = Extension{"envoy.filters.listener.tls_inspector", "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}
	proxyProtocol   = Extension{"envoy.filters.listener.proxy_protocol", "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"}
	upstreamProxy   = Extension{"envoy.transport_sockets.upstream_proxy_protocol", "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"}
	tlsSocket       = Extension{"envoy.transport_sockets.tls", "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"}
	upstreamTLS     = Extension{"envoy.transport_sockets.tls", "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"}
	rawBuffer       = Extension{"envoy.transport_sockets.raw_buffer", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}
	httpManager     = Extension{"envoy.filters.network.http_connection_manager", "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"}
	connectionLimit = Extension{"envoy.filters.network.connection_limit", "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit"}
	setState        = Extension{"envoy.filters.network.set_filter_state", "envoy.extensions.filters.network.set_filter_state.v3.Config"}
	tcpProxy        = Extension{"envoy.filters.network.tcp_proxy", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}
	router          = Extension{"envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router"}
	fileLog         = Extension{"envoy.access_loggers.file", "envoy.extensions.access_loggers.file.v3.FileAccessLog"}
	stdoutLog       = Extension{"envoy.access_loggers.stdout", "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"}
	stderrLog       = Extension{"envoy.access_loggers.stderr", "envoy.extensions.access_loggers.stream.v3.StderrAccessLog"}
	upstreamOptions = Extension{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
)

// Types of resources, for rules that hold within one.
const (
	listenerType = "envoy.config.listener.v3.Listener"
	clusterType  = "envoy.config.cluster.v3.Cluster"
)

// Reasons that stand more than once.
const (
	typeDecides    = "the type decides; the name is for people"
	forStats       = "names Envoy's statistics; this proxy counts by the names of its configuration"
	forOthers      = "nothing that this proxy has reads it"
	ownBuffers     = "a limit of Envoy's buffers; this proxy's are fixed"
	ownFloodLimits = "a limit of Envoy's codec against floods; this proxy has its own"
	ownKernel      = "tunes the kernel's queues, not what is served"
)

var listenerTable = []messageRules{
	{message: listenerType, fields: []Field{
		yes("name"),
		yes("address"),
		yes("filter_chains"),
		yes("default_filter_chain"),
		yes("listener_filters"),
		yes("listener_filters_timeout"),
		yes("enable_reuse_port"),
		only("bind_to_port", "true"),
		only("drain_type", "DEFAULT"),
		only("continue_on_listener_filters_timeout", "false"),
		only("transparent", "false"),
		only("freebind", "false"),
		only("use_original_dst", "false"),
		harmless("stat_prefix", forStats),
		harmless("metadata", forOthers),
		harmless("traffic_direction", forOthers),
		harmless("per_connection_buffer_limit_bytes", ownBuffers),
		harmless("per_connection_buffer_high_watermark_timeout", ownBuffers),
		harmless("tcp_backlog_size", ownKernel),
		harmless("tcp_fast_open_queue_length", ownKernel),
		harmless("max_connections_to_accept_per_socket_event", "spreads Envoy's event loops; this proxy has none"),
		harmless("connection_balance_config", "spreads connections over Envoy's workers; the Go scheduler does that"),
		only("ignore_global_conn_limit", "false"),
		only("bypass_overload_manager", "false"),
	}},
	{message: "envoy.config.listener.v3.ListenerFilter", fields: []Field{
		harmless("name", typeDecides),
		holds("typed_config", tlsInspector, proxyProtocol),
	}},
	{message: "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol", fields: []Field{
		yes("allow_requests_without_proxy_protocol"),
		harmless("stat_prefix", forStats),
	}},
	{message: "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", fields: []Field{
		harmless("enable_ja3_fingerprinting", "nothing here reads fingerprints; a log format that does is refused"),
		harmless("enable_ja4_fingerprinting", "nothing here reads fingerprints; a log format that does is refused"),
		harmless("initial_read_buffer_size", ownBuffers),
		harmless("max_client_hello_size", ownFloodLimits),
		only("close_connection_on_client_hello_parsing_errors", "false"),
	}},
	{message: "envoy.config.listener.v3.FilterChain", fields: []Field{
		yes("name"),
		yes("filter_chain_match"),
		yes("filters"),
		yes("transport_socket"),
		{Name: "transport_socket_connect_timeout", Support: Implemented, Note: "the shortest of all chains' and of listener_filters_timeout holds for the whole listener"},
		only("use_proxy_proto", "false"),
		harmless("metadata", forOthers),
	}},
	{message: "envoy.config.listener.v3.FilterChainMatch", fields: []Field{
		yes("server_names"),
		only("transport_protocol", `"tls"`, `"raw_buffer"`),
		yes("application_protocols"),
	}},
	{message: "envoy.config.listener.v3.Filter", fields: []Field{
		harmless("name", typeDecides),
		holds("typed_config", httpManager, tcpProxy, connectionLimit, setState),
	}},
	{message: "envoy.extensions.filters.network.set_filter_state.v3.Config", fields: []Field{
		{Name: "on_new_connection", Support: Implemented, Note: "one value: the client's address, for routes that ask for it"},
	}},
	{message: "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue", fields: []Field{
		only("object_key", `"`+resource.SourceKey+`"`),
		only("factory_key", `"envoy.network.ip"`),
		{Name: "format_string", Support: Implemented, Note: resource.SourceFormat},
		harmless("read_only", "nothing else writes it"),
		only("shared_with_upstream", "NONE"),
		only("skip_if_empty", "false"),
	}},
	{message: "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit", fields: []Field{
		harmless("stat_prefix", forStats),
		{Name: "max_connections", Support: Implemented, Note: "to HTTP/1 in plaintext one too many is told 503; Envoy closes it without a word"},
	}},
	{message: "envoy.config.core.v3.TransportSocket", within: listenerType, fields: []Field{
		harmless("name", typeDecides),
		holds("typed_config", tlsSocket, rawBuffer),
	}},
}

var tlsTable = []messageRules{
	{message: "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", fields: []Field{
		yes("common_tls_context"),
		yes("require_client_certificate"),
		only("require_sni", "false"),
		only("ocsp_staple_policy", "LENIENT_STAPLING"),
		yes("session_ticket_keys"),
		{Name: "session_ticket_keys_sds_secret_config", Support: Implemented, Note: "the tickets are of Go's form: a session resumes on Go proxies, an Envoy's on Envoys"},
		yes("disable_stateless_session_resumption"),
		harmless("disable_stateful_session_resumption", "there is none to disable"),
		harmless("session_timeout", "resumption is crypto/tls's own; it only saves time"),
		harmless("full_scan_certs_on_sni_mismatch", "all certificates of a chain are always looked at"),
		harmless("prefer_client_ciphers", "crypto/tls chooses the cipher by what both sides' hardware does well"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", fields: []Field{
		yes("common_tls_context"),
		{Name: "sni", Support: Implemented, Note: "an IP address is not sent (RFC 6066)"},
		only("auto_host_sni", "false"),
		only("auto_sni_san_validation", "false"),
		only("allow_renegotiation", "false"),
		harmless("max_session_keys", "how many sessions are kept for resumption, which only saves time; this proxy keeps 64"),
		harmless("enforce_rsa_key_usage", "crypto/tls decides by itself"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext", fields: []Field{
		yes("tls_params"),
		yes("tls_certificates"),
		yes("tls_certificate_sds_secret_configs"),
		yes("alpn_protocols"),
		yes("validation_context"),
		yes("validation_context_sds_secret_config"),
		yes("combined_validation_context"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext", fields: []Field{
		yes("default_validation_context"),
		yes("validation_context_sds_secret_config"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext", fields: []Field{
		yes("trusted_ca"),
		yes("match_typed_subject_alt_names"),
		only("allow_expired_certificate", "false"),
		only("trust_chain_verification", "VERIFY_TRUST_CHAIN"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher", fields: []Field{
		only("san_type", "EMAIL", "DNS", "URI", "IP_ADDRESS"),
		yes("matcher"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.TlsParameters", fields: []Field{
		yes("tls_minimum_protocol_version"),
		yes("tls_maximum_protocol_version"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", fields: []Field{
		yes("name"),
		yes("sds_config"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.Secret", fields: []Field{
		yes("name"),
		yes("tls_certificate"),
		yes("session_ticket_keys"),
		yes("validation_context"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", fields: []Field{
		yes("keys"),
	}},
	{message: "envoy.extensions.transport_sockets.tls.v3.TlsCertificate", fields: []Field{
		yes("certificate_chain"),
		yes("private_key"),
	}},
}
