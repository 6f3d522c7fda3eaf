package decode

import (
	"strings"

	"github.com/sluice-proxy/sluice/xds/operator"
	"github.com/sluice-proxy/sluice/xds/resource"
)

var routeTableTable = []messageRules{
	{message: "envoy.config.route.v3.RouteConfiguration", fields: []Field{
		yes("name"),
		yes("virtual_hosts"),
		yes("ignore_port_in_host_matching"),
		yes("max_direct_response_body_size_bytes"),
		{
			Name: "request_headers_to_remove", Support: Implemented, Values: []string{`"x-envoy-external-address"`, `"x-envoy-internal"`},
			Note: "this proxy never adds them, and drops a stranger's",
		},
		only("validate_clusters", "false"),
		only("ignore_path_parameters_in_path_matching", "false"),
		harmless("most_specific_header_mutations_wins", "there are no header mutations to order"),
		harmless("metadata", forOthers),
	}},
	{message: "envoy.config.route.v3.VirtualHost", fields: []Field{
		yes("name"),
		{Name: "domains", Support: Implemented, Note: `exact, "*.suffix", "prefix.*" and "*"`},
		yes("routes"),
		only("require_tls", "NONE"),
		only("include_request_attempt_count", "false"),
		only("include_attempt_count_in_response", "false"),
		only("include_is_timeout_retry_header", "false"),
		harmless("metadata", forOthers),
		harmless("per_request_buffer_limit_bytes", "nothing buffers requests"),
		harmless("request_body_buffer_limit", "nothing buffers requests"),
	}},
	{message: "envoy.config.route.v3.Route", fields: []Field{
		yes("name"),
		yes("match"),
		yes("route"),
		yes("redirect"),
		yes("direct_response"),
		{Name: "request_headers_to_add", Support: Implemented, Note: "operators: " + strings.Join(operator.OfRequest, ", ")},
		yes("request_headers_to_remove"),
		{Name: "response_headers_to_add", Support: Implemented, Note: "operators: those, and RESP, RESPONSE_FLAGS, UPSTREAM_HOST"},
		yes("response_headers_to_remove"),
		harmless("metadata", forOthers),
		harmless("decorator", "names traces, and there are none"),
		harmless("stat_prefix", forStats),
		harmless("per_request_buffer_limit_bytes", "nothing buffers requests"),
		harmless("request_body_buffer_limit", "nothing buffers requests"),
	}},
	{message: "envoy.config.core.v3.HeaderValueOption", fields: []Field{
		yes("header"),
		only("append_action", "APPEND_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS_OR_ADD"),
		yes("keep_empty_value"),
	}},
	{message: "envoy.config.core.v3.HeaderValue", fields: []Field{
		yes("key"),
		yes("value"),
	}},
	{message: "envoy.config.route.v3.RouteMatch", fields: []Field{
		yes("prefix"),
		yes("path"),
		yes("path_separated_prefix"),
		yes("safe_regex"),
		only("case_sensitive", "true"),
		yes("headers"),
		yes("query_parameters"),
		yes("grpc"),
		yes("runtime_fraction"),
		{Name: "filter_state", Support: Implemented, Note: "one: the client's address"},
	}},
	{message: "envoy.type.matcher.v3.FilterStateMatcher", fields: []Field{
		only("key", `"`+resource.SourceKey+`"`),
		yes("address_match"),
	}},
	{message: "envoy.type.matcher.v3.AddressMatcher", fields: []Field{
		yes("ranges"),
		only("invert_match", "false"),
	}},
	{message: "xds.core.v3.CidrRange", fields: []Field{
		yes("address_prefix"),
		yes("prefix_len"),
	}},
	{message: "envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions"},
	{message: "envoy.config.core.v3.RuntimeFractionalPercent", fields: []Field{
		yes("default_value"),
		harmless("runtime_key", "there is no runtime to say otherwise"),
	}},
	{message: "envoy.type.v3.FractionalPercent", fields: []Field{
		yes("numerator"),
		only("denominator", "HUNDRED", "TEN_THOUSAND", "MILLION"),
	}},
	{message: "envoy.config.route.v3.HeaderMatcher", fields: []Field{
		yes("name"),
		yes("string_match"),
		yes("present_match"),
		yes("exact_match"),
		yes("prefix_match"),
		yes("suffix_match"),
		yes("contains_match"),
		yes("safe_regex_match"),
		yes("invert_match"),
		only("treat_missing_header_as_empty", "false"),
	}},
	{message: "envoy.config.route.v3.QueryParameterMatcher", fields: []Field{
		yes("name"),
		yes("string_match"),
		yes("present_match"),
	}},
	{message: "envoy.type.matcher.v3.StringMatcher", fields: []Field{
		yes("exact"),
		yes("prefix"),
		yes("suffix"),
		yes("contains"),
		yes("safe_regex"),
		only("ignore_case", "false"),
	}},
	{message: "envoy.type.matcher.v3.RegexMatchAndSubstitute", fields: []Field{
		yes("pattern"),
		yes("substitution"),
	}},
	{message: "envoy.type.matcher.v3.RegexMatcher", fields: []Field{
		yes("google_re2"),
		{Name: "regex", Support: Implemented, Note: "RE2, printable ASCII, of a program size of at most 100, Envoy's limit"},
	}},
	{message: "envoy.type.matcher.v3.RegexMatcher.GoogleRE2"},
	{message: "envoy.config.route.v3.RouteAction", fields: []Field{
		yes("cluster"),
		yes("weighted_clusters"),
		yes("timeout"),
		yes("idle_timeout"),
		yes("upgrade_configs"),
		yes("request_mirror_policies"),
		yes("host_rewrite_literal"),
		yes("prefix_rewrite"),
		yes("regex_rewrite"),
		only("cluster_not_found_response_code", "SERVICE_UNAVAILABLE"),
		only("priority", "DEFAULT"),
		only("append_x_forwarded_host", "false"),
		only("include_vh_rate_limits", "false"),
		only("internal_redirect_action", "PASS_THROUGH_INTERNAL_REDIRECT"),
		harmless("max_internal_redirects", "there are no internal redirects"),
	}},
	{message: "envoy.config.route.v3.RouteAction.RequestMirrorPolicy", fields: []Field{
		yes("cluster"),
		yes("runtime_fraction"),
		yes("disable_shadow_host_suffix_append"),
		harmless("trace_sampled", "there are no traces"),
	}},
	{message: "envoy.config.route.v3.RouteAction.UpgradeConfig", fields: []Field{
		{Name: "upgrade_type", Support: Implemented, Note: notUpgrades},
		yes("enabled"),
	}},
	{message: "envoy.config.route.v3.WeightedCluster", fields: []Field{
		yes("clusters"),
		{Name: "total_weight", Support: Implemented, Note: "must be the sum of the weights, as Envoy wants"},
	}},
	{message: "envoy.config.route.v3.WeightedCluster.ClusterWeight", fields: []Field{
		yes("name"),
		yes("weight"),
	}},
	{message: "envoy.config.route.v3.RedirectAction", fields: []Field{
		yes("https_redirect"),
		only("scheme_redirect", `"http"`, `"https"`),
		yes("host_redirect"),
		yes("port_redirect"),
		only("response_code", "MOVED_PERMANENTLY", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"),
		yes("path_redirect"),
		yes("prefix_rewrite"),
		yes("regex_rewrite"),
		yes("strip_query"),
	}},
	{message: "envoy.config.route.v3.DirectResponseAction", fields: []Field{
		yes("status"),
		yes("body"),
	}},
}
