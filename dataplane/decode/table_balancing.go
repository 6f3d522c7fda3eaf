package decode

// The policies that may stand in a cluster's load_balancing_policy.
var (
	ringHashPolicy = Extension{"envoy.load_balancing_policies.ring_hash", "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash"}
	maglevPolicy   = Extension{"envoy.load_balancing_policies.maglev", "envoy.extensions.load_balancing_policies.maglev.v3.Maglev"}
)

var balancingTable = []messageRules{
	{message: "envoy.config.cluster.v3.LoadBalancingPolicy", fields: []Field{
		{Name: "policies", Support: Implemented, Note: "the first is used; each must be one that this proxy has"},
	}},
	{message: "envoy.config.cluster.v3.LoadBalancingPolicy.Policy", fields: []Field{
		yes("typed_extension_config"),
	}},
	{message: "envoy.config.core.v3.TypedExtensionConfig", within: clusterType, fields: []Field{
		harmless("name", typeDecides),
		holds("typed_config", ringHashPolicy, maglevPolicy, caresResolver),
	}},
	{message: "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash", fields: []Field{
		only("hash_function", "DEFAULT_HASH", "XX_HASH"),
		yes("minimum_ring_size"),
		yes("maximum_ring_size"),
		only("use_hostname_for_hashing", "false"),
		yes("consistent_hashing_lb_config"),
		yes("locality_weighted_lb_config"),
	}},
	{message: "envoy.extensions.load_balancing_policies.maglev.v3.Maglev", fields: []Field{
		{Name: "table_size", Support: Implemented, Note: "a prime number, as Envoy wants"},
		yes("consistent_hashing_lb_config"),
		yes("locality_weighted_lb_config"),
	}},
	{message: "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig"},
	{message: "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig", fields: []Field{
		only("use_hostname_for_hashing", "false"),
		{Name: "hash_policy", Support: Implemented, Note: "here, and not in a route: there it is refused"},
	}},
	{message: "envoy.config.route.v3.RouteAction.HashPolicy", within: clusterType, fields: []Field{
		yes("header"),
		yes("cookie"),
		yes("connection_properties"),
		yes("query_parameter"),
		yes("terminal"),
	}},
	{message: "envoy.config.route.v3.RouteAction.HashPolicy.Header", fields: []Field{
		yes("header_name"),
	}},
	{message: "envoy.config.route.v3.RouteAction.HashPolicy.Cookie", fields: []Field{
		yes("name"),
		{Name: "ttl", Support: Implemented, Note: "of one cookie: Envoy, too, makes one only"},
		yes("path"),
	}},
	{message: "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties", fields: []Field{
		must("source_ip", "true", "without it the policy does nothing"),
	}},
	{message: "envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter", fields: []Field{
		yes("name"),
	}},
}
