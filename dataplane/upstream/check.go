package upstream

import (
	"context"
	"net"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// DialCheck connects to an endpoint for a health check: as for a request, but no counter and no limit sees it, and what the
// PROXY protocol's header announces is nobody's (LOCAL, UNKNOWN).
func DialCheck(ctx context.Context, c *cluster.Cluster, address config.Address) (net.Conn, error) {
	return dial(ctx, &cluster.Cluster{Config: c.Config, Stats: &cluster.Stats{}}, address, proxyprotocol.Header{})
}
