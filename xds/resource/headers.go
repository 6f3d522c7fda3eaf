package resource

// FramesMessage tells the header names, in lower case, that say where a message ends, for whom it is, or what its
// connection does: a route that changed them would make another message of it. Codecs write them by themselves.
func FramesMessage(name string) bool {
	switch name {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade", "te",
		"trailer", "expect":
		return true
	}
	return false
}

// SteersEnvoy tells the names, in lower case, of the request headers by which Envoy's router takes orders. It does so of a route that
// sets one, too, and most of them do not reach the upstream.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#http-headers-consumed-from-downstream-clients
func SteersEnvoy(name string) bool {
	switch name {
	case "x-envoy-max-retries", "x-envoy-retry-on", "x-envoy-retry-grpc-on", "x-envoy-retriable-header-names",
		"x-envoy-retriable-status-codes", "x-envoy-upstream-alt-stat-name", "x-envoy-upstream-rq-timeout-ms",
		"x-envoy-upstream-rq-timeout-alt-response", "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-hedge-on-per-try-timeout":
		return true
	}
	return false
}
