package upstream

import (
	"context"
	"net"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// DialCheck connects to an endpoint for one of its cluster's health checks: as for a request, TLS and all, but no counter and no
// limit sees it, and what the PROXY protocol's header announces is nobody's (LOCAL, UNKNOWN).
func (c *Client) DialCheck(ctx context.Context, address config.Address) (net.Conn, error) {
	cfg := c.Cluster.Config
	what := forHTTP1
	switch h := cfg.HealthCheck; {
	case h.Kind == config.CheckTCP:
		what = forTCP
	case h.Kind == config.CheckGRPC || h.HTTP2:
		what = forHTTP2
	}
	return dial(ctx, &cluster.Cluster{Config: cfg, Stats: &cluster.Stats{}}, address, proxyprotocol.Header{}, c.secure, what)
}
