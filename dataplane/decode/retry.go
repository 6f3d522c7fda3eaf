package decode

//lint:file-ignore SA1019 other control planes still send the deprecated fields.

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3" // it has no fields, and is linked in for the walk

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// What Envoy takes where a policy says nothing.
const (
	defaultAttempts    = 1
	defaultBackOff     = 25 * time.Millisecond
	backOffGrowth      = 10
	defaultReselect    = 1
	defaultKept        = 1 << 20
	defaultMaxRetries  = 3
	defaultBudget      = 20
	defaultBudgetLeast = 3
)

// maxKept bounds what is kept of a body, in bytes.
const maxKept = 64 << 20

// retry reads a policy; nil is no retries. kept is how much of a body is kept.
func (d *decoder) retry(at string, m *routepb.RetryPolicy, kept int) *config.Retry {
	if m == nil {
		return nil
	}
	r := &config.Retry{
		StatusCodes: m.GetRetriableStatusCodes(), Attempts: number(m.GetNumRetries(), defaultAttempts),
		PerTryTimeout: d.duration(at+".per_try_timeout", m.GetPerTryTimeout(), 0), BodyBytes: kept,
		BackOffBase: defaultBackOff,
	}
	for word := range strings.SplitSeq(m.GetRetryOn(), ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		on, ok := config.ParseRetryOn(word)
		if !ok {
			d.refuse(at+".retry_on", "got %s, want conditions that this proxy has: %s", quote(word), notSupported)
		}
		r.On |= on
	}
	for i, h := range m.GetRetriableRequestHeaders() {
		r.Requests = append(r.Requests, d.header(fmt.Sprintf("%s.retriable_request_headers[%d]", at, i), h))
	}
	if b := m.GetRetryBackOff(); b != nil {
		r.BackOffBase = max(time.Millisecond, d.positive(at+".retry_back_off.base_interval", b.GetBaseInterval(), defaultBackOff))
	}
	r.BackOffMax = d.positive(at+".retry_back_off.max_interval", m.GetRetryBackOff().GetMaxInterval(), backOffGrowth*r.BackOffBase)
	if r.BackOffMax < r.BackOffBase {
		d.refuse(at+".retry_back_off.max_interval", "got %v, want base_interval, %v, or more", r.BackOffMax, r.BackOffBase)
	}
	if len(m.GetRetryHostPredicate()) > 0 {
		attempts := m.GetHostSelectionRetryMaxAttempts()
		if attempts < 0 || attempts > math.MaxInt32 {
			d.refuse(at+".host_selection_retry_max_attempts", "got %d, want 0 to %d", attempts, math.MaxInt32)
		}
		r.Reselect = int(cmp.Or(attempts, defaultReselect))
	}
	if r.On == 0 || r.Attempts == 0 {
		return nil
	}
	return r
}

// bodyLimit is how much of a request's body is kept: the route's word counts before its host's, and the newer field before the older.
func (d *decoder) bodyLimit(at string, vh *routepb.VirtualHost, m *routepb.Route) int {
	limit := uint64(defaultKept)
	switch {
	case m.GetRequestBodyBufferLimit() != nil:
		limit = m.GetRequestBodyBufferLimit().GetValue()
	case m.GetPerRequestBufferLimitBytes() != nil:
		limit = uint64(m.GetPerRequestBufferLimitBytes().GetValue())
	case vh.GetRequestBodyBufferLimit() != nil:
		limit = vh.GetRequestBodyBufferLimit().GetValue()
	case vh.GetPerRequestBufferLimitBytes() != nil:
		limit = uint64(vh.GetPerRequestBufferLimitBytes().GetValue())
	}
	if limit > maxKept && m.GetRoute().GetRetryPolicy() != nil {
		d.refuse(at+".request_body_buffer_limit", "got %d bytes, want at most %d: %s", limit, maxKept, notSupported)
	}
	return int(min(limit, maxKept))
}

// retryLimit reads the circuit breaker's limit of retries.
func (d *decoder) retryLimit(m *clusterpb.Cluster, c *config.Cluster) {
	c.MaxRetries = defaultMaxRetries
	for i, t := range m.GetCircuitBreakers().GetThresholds() {
		if i > 0 {
			break // Envoy takes the first, too.
		}
		c.MaxRetries = number(t.GetMaxRetries(), defaultMaxRetries)
		if b := t.GetRetryBudget(); b != nil {
			budget := &config.RetryBudget{Percent: defaultBudget, Least: number(b.GetMinRetryConcurrency(), defaultBudgetLeast)}
			if p := b.GetBudgetPercent(); p != nil {
				budget.Percent = p.GetValue()
			}
			c.RetryBudget = budget
		}
	}
}
