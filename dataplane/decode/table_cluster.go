package decode

var clusterTable = []messageRules{
	{message: clusterType, fields: []Field{
		yes("name"),
		only("type", "STATIC", "EDS", "STRICT_DNS", "LOGICAL_DNS"),
		yes("cluster_type"),
		yes("typed_dns_resolver_config"),
		yes("eds_cluster_config"),
		yes("load_assignment"),
		yes("connect_timeout"),
		only("lb_policy", "ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"),
		yes("load_balancing_policy"),
		yes("least_request_lb_config"),
		yes("round_robin_lb_config"),
		yes("circuit_breakers"),
		holds("typed_extension_protocol_options", upstreamOptions),
		yes("transport_socket"),
		yes("common_lb_config"),
		only("protocol_selection", "USE_CONFIGURED_PROTOCOL"),
		only("close_connections_on_host_health_failure", "false"),
		only("connection_pool_per_downstream_connection", "false"),
		harmless("alt_stat_name", forStats),
		harmless("track_timeout_budgets", forStats),
		harmless("track_cluster_stats", forStats),
		harmless("metadata", forOthers),
		harmless("per_connection_buffer_limit_bytes", ownBuffers),
		harmless("per_connection_buffer_high_watermark_timeout", ownBuffers),
		yes("health_checks"),
		yes("outlier_detection"),
		{Name: "ignore_health_on_host_removal", Support: Implemented, Note: "true, where there are health checks: an endpoint that is removed is gone"},
		harmless("wait_for_warm_on_init", "the first checks are waited for, at most a second"),
		harmless("cleanup_interval", "concerns ORIGINAL_DST"),
		yes("dns_lookup_family"),
		yes("respect_dns_ttl"),
		yes("dns_refresh_rate"),
		yes("dns_jitter"),
		yes("dns_failure_refresh_rate"),
		harmless("lrs_report_endpoint_metrics", "there are no load reports"),
	}},
	{message: "envoy.config.cluster.v3.Cluster.EdsClusterConfig", fields: []Field{
		yes("eds_config"),
		yes("service_name"),
	}},
	{message: "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig", fields: []Field{
		{Name: "choice_count", Support: Implemented, Note: "2 to 100"},
		yes("slow_start_config"),
	}},
	{message: "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig", fields: []Field{
		yes("slow_start_config"),
	}},
	{message: "envoy.config.cluster.v3.Cluster.SlowStartConfig", fields: []Field{
		yes("slow_start_window"),
		yes("aggression"),
		yes("min_weight_percent"),
	}},
	{message: "envoy.config.core.v3.RuntimeDouble", fields: []Field{
		yes("default_value"),
		harmless("runtime_key", "there is no runtime to look in"),
	}},
	{message: "envoy.config.cluster.v3.Cluster.CommonLbConfig", fields: []Field{
		{Name: "healthy_panic_threshold", Support: Implemented, Note: "whole percents: what is behind the point is cut off, as Envoy does"},
		yes("locality_weighted_lb_config"),
		harmless("update_merge_window", "changes of endpoints are used at once"),
		only("ignore_new_hosts_until_first_hc", "false"),
	}},
	{message: "envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig"},
	{message: "envoy.type.v3.Percent", fields: []Field{
		yes("value"),
	}},
	{message: "envoy.config.cluster.v3.CircuitBreakers", fields: []Field{
		yes("thresholds"),
	}},
	{message: "envoy.config.cluster.v3.CircuitBreakers.Thresholds", fields: []Field{
		only("priority", "DEFAULT"),
		yes("max_connections"),
		yes("max_pending_requests"),
		yes("max_requests"),
		yes("max_retries"),
		{Name: "retry_budget", Support: Implemented, Note: "of the requests under way, waiting ones among them"},
		harmless("track_remaining", forStats),
	}},
	{message: "envoy.config.core.v3.TransportSocket", within: clusterType, fields: []Field{
		harmless("name", typeDecides),
		holds("typed_config", rawBuffer, upstreamTLS, upstreamProxy),
	}},
	{message: "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport", fields: []Field{
		yes("config"),
		yes("transport_socket"),
		only("allow_unspecified_address", "false"),
		harmless("tlv_as_pool_key", "no TLV is sent; a connection serves one client's connection in any case"),
	}},
	{message: "envoy.config.core.v3.ProxyProtocolConfig", fields: []Field{
		only("version", "V1", "V2"),
	}},
	{message: "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
}

var endpointTable = []messageRules{
	{message: "envoy.config.endpoint.v3.ClusterLoadAssignment", fields: []Field{
		yes("cluster_name"),
		yes("endpoints"),
		yes("policy"),
	}},
	{message: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy", fields: []Field{
		only("overprovisioning_factor", "140"),
		only("weighted_priority_health", "false"),
	}},
	{message: "envoy.config.endpoint.v3.LocalityLbEndpoints", fields: []Field{
		yes("locality"),
		harmless("metadata", forOthers),
		yes("lb_endpoints"),
		yes("load_balancing_weight"),
		yes("priority"),
		harmless("proximity", forOthers),
	}},
	{message: "envoy.config.core.v3.Locality", fields: []Field{
		yes("region"),
		yes("zone"),
		yes("sub_zone"),
	}},
	{message: "envoy.config.endpoint.v3.LbEndpoint", fields: []Field{
		yes("endpoint"),
		only("health_status", "UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT"),
		yes("metadata"),
		yes("load_balancing_weight"),
	}},
	{message: "envoy.config.core.v3.Metadata", fields: []Field{
		{Name: "filter_metadata", Support: Implemented, Note: "the hash_key of envoy.lb; nothing that this proxy has reads the rest"},
		harmless("typed_filter_metadata", forOthers),
	}},
	{message: "envoy.config.endpoint.v3.Endpoint", fields: []Field{
		yes("address"),
		harmless("hostname", "is read by host rewriting only"),
		harmless("observability_name", forStats),
	}},
}

var coreTable = []messageRules{
	{message: "envoy.config.core.v3.Address", fields: []Field{
		yes("socket_address"),
		yes("pipe"),
	}},
	{message: "envoy.config.core.v3.Pipe", fields: []Field{
		yes("path"),
		harmless("mode", "is for listeners"),
	}},
	{message: "envoy.config.core.v3.Pipe", within: listenerType, fields: []Field{
		yes("path"),
		yes("mode"),
	}},
	{message: "envoy.config.core.v3.SocketAddress", fields: []Field{
		only("protocol", "TCP"),
		yes("address"),
		yes("port_value"),
		yes("ipv4_compat"),
	}},
	{message: "envoy.config.core.v3.DataSource", fields: []Field{
		yes("inline_bytes"),
		yes("inline_string"),
	}},
	{message: "envoy.config.core.v3.ConfigSource", fields: []Field{
		yes("ads"),
		yes("self"),
		only("resource_api_version", "V3"),
		harmless("initial_fetch_timeout", "a resource that does not come is reported after 15 s; what needs it waits"),
	}},
	{message: "envoy.config.core.v3.AggregatedConfigSource"},
	{message: "envoy.config.core.v3.SelfConfigSource", fields: []Field{
		only("transport_api_version", "V3"),
	}},
}
