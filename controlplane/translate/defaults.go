package translate

import "time"

// The defaults that no definition sets. Each is stated in the resources although some equal Envoy's own, since those
// have changed between its releases. "Edge" is Envoy's guide for proxies that strangers reach:
// https://www.envoyproxy.io/docs/envoy/latest/configuration/best_practices/edge
const (
	// upstreamIdle closes an unused connection to an endpoint. Servers close theirs after 75 s (nginx), 72 s (Go's
	// reverse proxies before us) or 65 s: we go first, so that no request meets a closing connection.
	upstreamIdle = 60 * time.Second

	// connectionBuffer is how many bytes one connection may hold back before its other side is slowed down. Edge: 32 KiB.
	connectionBuffer = 32 << 10

	// peekTimeout is how long a client may take for its ClientHello, and then for its TLS handshake. Envoy has no
	// limit for the second, so that a stranger could hold connections for ever.
	peekTimeout = 15 * time.Second

	// drainTimeout is from the first GOAWAY, or "Connection: close", to the end. It is Envoy's.
	drainTimeout = 5 * time.Second

	// streamWindow and connectionWindow are HTTP/2's, in bytes. Edge: 64 KiB and 1 MiB.
	streamWindow     = 64 << 10
	connectionWindow = 1 << 20

	// maxBody is the largest body of a direct response that Envoy takes unless it is told more, in bytes.
	maxBody = 4096
)

// alpn is offered by every TLS listener for HTTP.
var alpn = []string{"h2", "http/1.1"}
