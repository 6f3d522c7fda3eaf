package decode

var (
	dnsCluster    = Extension{"envoy.clusters.dns", "envoy.extensions.clusters.dns.v3.DnsCluster"}
	caresResolver = Extension{"envoy.network.dns_resolver.cares", "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"}
)

const ownResolver = "tunes c-ares; this proxy has its own resolver"

var dnsTable = []messageRules{
	{message: "envoy.config.cluster.v3.Cluster.CustomClusterType", fields: []Field{
		harmless("name", typeDecides),
		holds("typed_config", dnsCluster),
	}},
	{message: "envoy.extensions.clusters.dns.v3.DnsCluster", fields: []Field{
		yes("dns_refresh_rate"),
		yes("dns_failure_refresh_rate"),
		yes("respect_dns_ttl"),
		yes("dns_jitter"),
		yes("typed_dns_resolver_config"),
		yes("dns_lookup_family"),
		yes("all_addresses_in_single_endpoint"),
		yes("dns_min_refresh_rate"),
	}},
	{message: "envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate", fields: []Field{
		yes("base_interval"),
		yes("max_interval"),
	}},
	{message: "envoy.config.cluster.v3.Cluster.RefreshRate", fields: []Field{
		yes("base_interval"),
		yes("max_interval"),
	}},
	{message: "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig", fields: []Field{
		yes("resolvers"),
		only("use_resolvers_as_fallback", "false"),
		only("filter_unroutable_families", "false"),
		yes("dns_resolver_options"),
		harmless("udp_max_queries", ownResolver),
		harmless("query_timeout_seconds", ownResolver),
		harmless("query_tries", ownResolver),
		harmless("rotate_nameservers", ownResolver),
		harmless("edns0_max_payload_size", ownResolver),
		harmless("max_udp_channel_duration", ownResolver),
		harmless("reinit_channel_on_timeout", ownResolver),
		harmless("qcache_max_ttl", ownResolver),
	}},
	{message: "envoy.config.core.v3.DnsResolverOptions", fields: []Field{
		only("use_tcp_for_dns_lookups", "false"),
		only("no_default_search_domain", "false"),
	}},
}
