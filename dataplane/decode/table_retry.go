package decode

var previousHosts = Extension{"envoy.retry_host_predicates.previous_hosts", "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}

// keptBodies is what the limits on buffering mean here.
const keptBodies = "how much of a body is kept for a retry, at most 64 MiB; unset is 1 MiB, whatever the listener's buffer is; a route's counts before its host's"

var retryTable = []messageRules{
	{message: "envoy.config.route.v3.RetryPolicy", fields: []Field{
		{Name: "retry_on", Support: Implemented, Note: "envoy-ratelimited, retriable-headers and http3-post-connect-failure are refused"},
		yes("num_retries"),
		yes("per_try_timeout"),
		yes("retry_host_predicate"),
		yes("host_selection_retry_max_attempts"),
		yes("retriable_status_codes"),
		yes("retry_back_off"),
		yes("retriable_request_headers"),
		only("refresh_cluster_on_retry", "false"),
	}},
	{message: "envoy.config.route.v3.RetryPolicy.RetryHostPredicate", fields: []Field{
		harmless("name", typeDecides),
		holds("typed_config", previousHosts),
	}},
	{message: previousHosts.Type},
	{message: "envoy.config.route.v3.RetryPolicy.RetryBackOff", fields: []Field{
		yes("base_interval"),
		yes("max_interval"),
	}},
	{message: "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget", fields: []Field{
		yes("budget_percent"),
		yes("min_retry_concurrency"),
	}},
	{message: "envoy.type.v3.Percent", fields: []Field{
		yes("value"),
	}},
}
