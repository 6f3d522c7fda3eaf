package live

import (
	"sync/atomic"

	"github.com/sluice-proxy/sluice/dataplane/httpproxy"
)

type requestCount = atomic.Uint32

// request serves one request, if there may be one more.
func (c *conn) request(s httpproxy.Stream) {
	h := c.http
	if most := h.config.MaxRequests; most > 0 && h.requests.Add(1) == most {
		// As Envoy: this one is served still, and told that it is the last.
		h.chain.listener.runtime.drain([]*conn{c})
	}
	h.chain.http.Serve(s, &h.info)
}
