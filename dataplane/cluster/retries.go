package cluster

// AcquireRetry counts a retry in, unless the circuit breaker's limit of retries is reached. After true, ReleaseRetry must
// follow when it is known what came of the retry.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/circuit_breaking
func (c *Cluster) AcquireRetry() bool {
	if c.Stats.RetriesActive.Add(1) > c.maxRetries() {
		c.Stats.RetriesActive.Add(-1)
		c.Stats.RetryOverflows.Add(1)
		return false
	}
	c.Stats.Retries.Add(1)
	return true
}

// ReleaseRetry counts a retry out.
func (c *Cluster) ReleaseRetry() { c.Stats.RetriesActive.Add(-1) }

func (c *Cluster) maxRetries() int64 {
	b := c.Config.RetryBudget
	if b == nil {
		return int64(c.Config.MaxRetries)
	}
	return max(int64(b.Percent/100*float64(c.Stats.RequestsActive.Load())), int64(b.Least))
}
