package decode

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// What Envoy takes where health checks and outlier detection say nothing.
const (
	defaultNoTraffic    = time.Minute
	defaultConsecutive  = 5
	defaultSweep        = 10 * time.Second
	defaultEjection     = 30 * time.Second
	defaultMostEjection = 5 * time.Minute
	defaultEjectPercent = 10

	// leastCheck is Envoy's least interval.
	leastCheck = time.Millisecond
)

// healthCheck reads how the endpoints are asked; nil is not at all.
func (d *decoder) healthCheck(m *clusterpb.Cluster) *config.HealthCheck {
	list := m.GetHealthChecks()
	if len(list) == 0 {
		return nil
	}
	if len(list) > 1 {
		d.refuse("health_checks", "got %d, want one: more are %s", len(list), notSupported)
	}
	if !m.GetIgnoreHealthOnHostRemoval() {
		d.refuse("ignore_health_on_host_removal", "got false with health checks, want true: that endpoints which are gone are used as long as they are well is %s", notSupported)
	}
	const at = "health_checks[0]"
	h := list[0]
	interval := d.positive(at+".interval", h.GetInterval(), leastCheck)
	noTraffic := d.positive(at+".no_traffic_interval", h.GetNoTrafficInterval(), defaultNoTraffic)
	unhealthy := d.positive(at+".unhealthy_interval", h.GetUnhealthyInterval(), interval)
	c := &config.HealthCheck{
		Timeout:                  d.positive(at+".timeout", h.GetTimeout(), leastCheck),
		Interval:                 interval,
		UnhealthyInterval:        unhealthy,
		HealthyEdgeInterval:      d.positive(at+".healthy_edge_interval", h.GetHealthyEdgeInterval(), interval),
		UnhealthyEdgeInterval:    d.positive(at+".unhealthy_edge_interval", h.GetUnhealthyEdgeInterval(), unhealthy),
		NoTrafficInterval:        noTraffic,
		NoTrafficHealthyInterval: d.positive(at+".no_traffic_healthy_interval", h.GetNoTrafficHealthyInterval(), noTraffic),
		InitialJitter:            d.duration(at+".initial_jitter", h.GetInitialJitter(), 0),
		IntervalJitter:           d.duration(at+".interval_jitter", h.GetIntervalJitter(), 0),
		JitterPercent:            h.GetIntervalJitterPercent(),
		UnhealthyThreshold:       d.threshold(at+".unhealthy_threshold", h.GetUnhealthyThreshold().GetValue()),
		HealthyThreshold:         d.threshold(at+".healthy_threshold", h.GetHealthyThreshold().GetValue()),
		Reuse:                    h.GetReuseConnection() == nil || h.GetReuseConnection().GetValue(),
	}
	switch {
	case h.GetHttpHealthCheck() != nil:
		c.Kind = config.CheckHTTP
		d.httpCheck(at+".http_health_check", h.GetHttpHealthCheck(), m.GetName(), c)
	case h.GetGrpcHealthCheck() != nil:
		c.Kind, c.Service = config.CheckGRPC, h.GetGrpcHealthCheck().GetServiceName()
		c.Host = cmp.Or(h.GetGrpcHealthCheck().GetAuthority(), m.GetName())
	case h.GetTcpHealthCheck() == nil:
		d.missing(at, "got no kind of check, want http_health_check, tcp_health_check or grpc_health_check")
	}
	protocol := "http/1.1"
	if c.HTTP2 || c.Kind == config.CheckGRPC {
		protocol = "h2"
	}
	if offered := h.GetTlsOptions().GetAlpnProtocols(); len(offered) > 0 && (c.Kind == config.CheckTCP || !slices.Equal(offered, []string{protocol})) {
		d.refuse(at+".tls_options.alpn_protocols", "got %s, want the protocol of an HTTP or gRPC check alone, %s: others are %s", quote(strings.Join(offered, ",")), protocol, notSupported)
	}
	if c.Kind != config.CheckTCP && !httpguts.ValidHostHeader(c.Host) {
		d.refuse(at, "got the host %s, want one that can stand in a request", quote(c.Host))
	}
	return c
}

// threshold is how many checks change something: with 0 Envoy would never see it reached.
func (d *decoder) threshold(at string, n uint32) uint32 {
	if n == 0 {
		d.refuse(at, "got 0, want 1 or more")
	}
	return n
}

func (d *decoder) httpCheck(at string, h *corepb.HealthCheck_HttpHealthCheck, cluster string, c *config.HealthCheck) {
	c.Path, c.Host = h.GetPath(), cmp.Or(h.GetHost(), cluster)
	c.HTTP2 = h.GetCodecClientType() == typepb.CodecClientType_HTTP2
	c.Method = "GET"
	if h.GetMethod() != corepb.RequestMethod_METHOD_UNSPECIFIED {
		c.Method = h.GetMethod().String()
	}
	if !strings.HasPrefix(c.Path, "/") || strings.ContainsFunc(c.Path, func(r rune) bool { return r <= ' ' || r >= 127 || r == '#' }) {
		d.refuse(at+".path", "got %s, want one that begins with / and has only visible ASCII", quote(c.Path))
	}
	c.Expected = d.statuses(at+".expected_statuses", h.GetExpectedStatuses())
	if len(c.Expected) == 0 {
		c.Expected = []config.StatusRange{{Start: 200, End: 201}}
	}
	c.Retriable = d.statuses(at+".retriable_statuses", h.GetRetriableStatuses())
}

func (d *decoder) statuses(at string, list []*typepb.Int64Range) []config.StatusRange {
	var out []config.StatusRange
	for i, r := range list {
		if r.GetStart() < 100 || r.GetEnd() > 600 || r.GetStart() >= r.GetEnd() {
			d.refuse(fmt.Sprintf("%s[%d]", at, i), "got %d to %d, want a range within 100 to 600", r.GetStart(), r.GetEnd())
			continue
		}
		out = append(out, config.StatusRange{Start: int(r.GetStart()), End: int(r.GetEnd())})
	}
	return out
}

// outliers reads who is taken out; nil is nobody.
func (d *decoder) outliers(m *clusterpb.Cluster) *config.Outliers {
	const at = "outlier_detection"
	o := m.GetOutlierDetection()
	if o == nil {
		return nil
	}
	c := &config.Outliers{
		Consecutive5xx:     number(o.GetConsecutive_5Xx(), defaultConsecutive),
		Enforcing5xx:       number(o.GetEnforcingConsecutive_5Xx(), 100),
		ConsecutiveGateway: number(o.GetConsecutiveGatewayFailure(), defaultConsecutive),
		EnforcingGateway:   number(o.GetEnforcingConsecutiveGatewayFailure(), 0),
		Interval:           d.positive(at+".interval", o.GetInterval(), defaultSweep),
		BaseTime:           d.positive(at+".base_ejection_time", o.GetBaseEjectionTime(), defaultEjection),
		Jitter:             d.duration(at+".max_ejection_time_jitter", o.GetMaxEjectionTimeJitter(), 0),
		MaxPercent:         min(100, number(o.GetMaxEjectionPercent(), defaultEjectPercent)),
		AlwaysOne:          o.GetAlwaysEjectOneHost().GetValue(),
		CheckEnds:          o.GetSuccessfulActiveHealthCheckUnejectHost() == nil || o.GetSuccessfulActiveHealthCheckUnejectHost().GetValue(),
	}
	c.MaxTime = d.positive(at+".max_ejection_time", o.GetMaxEjectionTime(), max(c.BaseTime, defaultMostEjection))
	if c.MaxTime < c.BaseTime {
		d.refuse(at+".max_ejection_time", "got %v, want base_ejection_time, %v, or more", c.MaxTime, c.BaseTime)
	}
	return c
}
