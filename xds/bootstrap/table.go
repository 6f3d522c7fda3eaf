package bootstrap

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// support is what Sluice's proxy does with a field. The zero value refuses it.
type support int

const (
	// taken: it has its meaning; a message is walked further.
	taken support = iota + 1
	// harmless: it changes neither traffic nor what people rely on.
	harmless
	// opaque: it is handed on, or judged elsewhere; the walk does not go in.
	opaque
)

// table says for each message which of its fields are not refused.
type table map[protoreflect.FullName]map[protoreflect.Name]support

// fields builds a row: names are separated by spaces.
func fields(takes, harmlessOnes, opaques string) map[protoreflect.Name]support {
	row := map[protoreflect.Name]support{}
	for s, names := range map[support]string{taken: takes, harmless: harmlessOnes, opaque: opaques} {
		for name := range strings.FieldsSeq(names) {
			row[protoreflect.Name(name)] = s
		}
	}
	return row
}

// common stands in a bootstrap and in its control plane's cluster.
var common = table{
	"envoy.config.core.v3.Address":       fields("socket_address pipe", "", ""),
	"envoy.config.core.v3.SocketAddress": fields("address port_value protocol", "", ""),
	"envoy.config.core.v3.Pipe":          fields("path", "mode", ""),
}

var bootstrapTable = merge(common, table{
	// Harmless: how Envoy counts, watches over its own threads, and lays out its memory.
	"envoy.config.bootstrap.v3.Bootstrap": fields(
		"static_resources dynamic_resources cluster_manager admin layered_runtime overload_manager",
		`flags_path deferred_stat_options stats_config stats_flush_interval stats_flush_on_demand stats_flush_on_admin
		 watchdog watchdogs enable_dispatcher_stats stats_server_version_override inline_headers perf_tracing_file_path
		 grpc_async_client_manager_config memory_allocator_manager enable_worker_cpu_affinity`,
		"node"),
	"envoy.config.bootstrap.v3.Bootstrap.StaticResources":  fields("", "", "listeners clusters secrets"),
	"envoy.config.bootstrap.v3.Bootstrap.DynamicResources": fields("lds_config cds_config ads_config", "", ""),
	"envoy.config.bootstrap.v3.ClusterManager":             fields("", "enable_deferred_cluster_creation", ""),
	"envoy.config.bootstrap.v3.Admin":                      fields("address", "profile_path ignore_global_conn_limit", "access_log access_log_path"),
	"envoy.config.bootstrap.v3.LayeredRuntime":             fields("layers", "", ""),
	"envoy.config.bootstrap.v3.RuntimeLayer":               fields("", "name", "static_layer admin_layer"),
	"envoy.config.overload.v3.OverloadManager":             fields("refresh_interval resource_monitors actions", "", ""),
	"envoy.config.overload.v3.ResourceMonitor":             fields("name typed_config", "", ""),
	"envoy.config.overload.v3.OverloadAction":              fields("name triggers", "", "typed_config"),
	"envoy.config.overload.v3.Trigger":                     fields("name threshold", "", ""),
	"envoy.config.overload.v3.ThresholdTrigger":            fields("value", "", ""),
	"envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig": fields(
		"max_active_downstream_connections", "", ""),
	"envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig": fields("max_heap_size_bytes", "", ""),
	// A proxy that has not got its listeners and clusters is not ready, however long that takes.
	"envoy.config.core.v3.ConfigSource":           fields("ads resource_api_version", "initial_fetch_timeout", ""),
	"envoy.config.core.v3.AggregatedConfigSource": {},
	// The node is told once a stream, which is what control planes must expect (rule 1).
	"envoy.config.core.v3.ApiConfigSource": fields(
		"api_type transport_api_version grpc_services", "set_node_on_first_message_only request_timeout refresh_delay", ""),
	"envoy.config.core.v3.GrpcService":           fields("envoy_grpc initial_metadata", "timeout", ""),
	"envoy.config.core.v3.GrpcService.EnvoyGrpc": fields("cluster_name authority retry_policy max_receive_message_length", "skip_envoy_headers", ""),
	// num_retries does not end Envoy's attempts for xDS either.
	"envoy.config.core.v3.RetryPolicy":     fields("retry_back_off", "num_retries", ""),
	"envoy.config.core.v3.BackoffStrategy": fields("base_interval max_interval", "", ""),
	"envoy.config.core.v3.HeaderValue":     fields("key value", "", ""),
})

// clusterTable is for the control plane's own cluster, which carries one stream and nothing else: balancing, circuit
// breakers and the rate of DNS look-ups mean nothing to it.
var clusterTable = merge(common, table{
	"envoy.config.cluster.v3.Cluster": fields(
		`name type connect_timeout load_assignment http2_protocol_options dns_lookup_family transport_socket
		 upstream_connection_options typed_extension_protocol_options`,
		`alt_stat_name lb_policy circuit_breakers per_connection_buffer_limit_bytes max_requests_per_connection metadata
		 dns_refresh_rate dns_jitter dns_failure_refresh_rate respect_dns_ttl wait_for_warm_on_init cleanup_interval
		 common_http_protocol_options common_lb_config`, ""),
	"envoy.config.endpoint.v3.ClusterLoadAssignment": fields("endpoints", "cluster_name", ""),
	"envoy.config.endpoint.v3.LocalityLbEndpoints":   fields("lb_endpoints", "locality metadata load_balancing_weight", ""),
	"envoy.config.endpoint.v3.LbEndpoint":            fields("endpoint", "metadata load_balancing_weight", ""),
	"envoy.config.endpoint.v3.Endpoint":              fields("address", "hostname observability_name", ""),

	"envoy.config.cluster.v3.UpstreamConnectionOptions": fields("tcp_keepalive", "", ""),
	"envoy.config.core.v3.TcpKeepalive":                 fields("keepalive_probes keepalive_time keepalive_interval", "", ""),

	"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": fields(
		"explicit_http_config", "common_http_protocol_options upstream_http_protocol_options", ""),
	"envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig": fields("http2_protocol_options", "", ""),
	"envoy.config.core.v3.Http2ProtocolOptions": fields("connection_keepalive",
		`hpack_table_size max_concurrent_streams initial_stream_window_size initial_connection_window_size
		 max_outbound_frames max_outbound_control_frames max_consecutive_inbound_frames_with_empty_payload
		 max_inbound_priority_frames_per_stream max_inbound_window_update_frames_per_data_frame_sent use_oghttp2_codec`, ""),
	"envoy.config.core.v3.KeepaliveSettings": fields("interval timeout", "interval_jitter connection_idle_interval", ""),

	"envoy.config.core.v3.TransportSocket":                         fields("typed_config", "name", ""),
	"envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext": fields("common_tls_context sni", "max_session_keys", ""),
	"envoy.extensions.transport_sockets.tls.v3.CommonTlsContext": fields(
		`tls_params tls_certificates validation_context tls_certificate_sds_secret_configs validation_context_sds_secret_config
		 combined_validation_context`, "alpn_protocols", ""),
	"envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext": fields(
		"default_validation_context validation_context_sds_secret_config", "", ""),
	// Secrets in files: they are read for each connection, so nothing needs to be watched.
	"envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig": fields("name sds_config", "", ""),
	"envoy.config.core.v3.ConfigSource":                         fields("path_config_source resource_api_version", "initial_fetch_timeout", ""),
	"envoy.config.core.v3.PathConfigSource":                     fields("path", "watched_directory", ""),
	"envoy.extensions.transport_sockets.tls.v3.Secret":          fields("name tls_certificate validation_context", "", ""),
	"envoy.extensions.transport_sockets.tls.v3.TlsParameters":   fields("tls_minimum_protocol_version tls_maximum_protocol_version", "", ""),
	"envoy.extensions.transport_sockets.tls.v3.TlsCertificate":  fields("certificate_chain private_key", "", ""),
	"envoy.config.core.v3.DataSource":                           fields("filename inline_bytes inline_string environment_variable", "", ""),
	"envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext": fields(
		"trusted_ca match_typed_subject_alt_names", "suppress_client_ca_list", ""),
	"envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher": fields("san_type matcher", "", ""),
	"envoy.type.matcher.v3.StringMatcher":                             fields("exact", "", ""),
})

func merge(tables ...table) table {
	out := table{}
	for _, t := range tables {
		maps.Copy(out, t)
	}
	return out
}

// harmlessRuntime are prefixes of runtime keys that only switch Envoy's own code.
var harmlessRuntime = []string{"envoy.reloadable_features.", "envoy.restart_features.", "re2."}

// staticLayer refuses keys that mean something: limits and percentages.
func (r *reader) staticLayer(field string, layer map[string]any) {
	keys := map[string]bool{}
	flatten("", layer, keys)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if !slices.ContainsFunc(harmlessRuntime, func(p string) bool { return strings.HasPrefix(key, p) }) {
			r.refuse(field, "got the key %q: %s", key, notSupported)
		}
	}
}

// flatten joins nested keys with dots, as Envoy does.
func flatten(prefix string, layer map[string]any, keys map[string]bool) {
	for key, value := range layer {
		if inner, ok := value.(map[string]any); ok {
			flatten(prefix+key+".", inner, keys)
		} else {
			keys[prefix+key] = true
		}
	}
}
