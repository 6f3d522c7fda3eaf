package healthcheck

import "github.com/sluice-proxy/sluice/dataplane/config"

// verdict is what came of one check.
type verdict int

const (
	well verdict = iota
	// failing is nobody there, no answer, or one that means no more than that.
	failing
	// ill is an answer that says so: it needs no second.
	ill
)

// count is how many checks in a row said the same.
type count struct {
	// first: what the next check says counts at once.
	first           bool
	well, unhealthy uint32
}

// next counts a verdict. changed: the endpoint is what it was not; pending: it would be, if more checks say so.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking
func (c *count) next(cfg *config.HealthCheck, v verdict, failed bool) (changed, pending bool) {
	first := c.first
	c.first = false
	if v == well {
		c.unhealthy = 0
		if !failed {
			return false, false
		}
		c.well++
		changed = first || c.well >= cfg.HealthyThreshold
	} else {
		c.well = 0
		if failed {
			return false, false
		}
		c.unhealthy++
		changed = first || v == ill || c.unhealthy >= cfg.UnhealthyThreshold
	}
	if changed {
		c.well, c.unhealthy = 0, 0
	}
	return changed, !changed
}
