package translate

import (
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// health is active health checks and outlier detection.
func health(m *clusterpb.Cluster, c *ir.Cluster) {
	if h := c.HealthCheck; h != nil {
		check := healthCheck(h, c.HTTP2)
		if c.TLS != nil && (h.HTTP != nil || h.GRPC != nil) {
			// Envoy's checks offer nothing of themselves, and a server that is offered no h2 speaks HTTP/1.1.
			protocol := "http/1.1"
			if c.HTTP2 {
				protocol = "h2"
			}
			check.TlsOptions = &corepb.HealthCheck_TlsOptions{AlpnProtocols: []string{protocol}}
		}
		m.HealthChecks = []*corepb.HealthCheck{check}
		// Else Envoy goes on using an endpoint that is gone from the definition, as long as it is well.
		m.IgnoreHealthOnHostRemoval = true
	}
	if c.Outliers != nil {
		m.OutlierDetection = outliers(c.Outliers)
	}
}

// healthCheck states every interval: Envoy's own for a cluster that has no traffic yet is a minute, and what is written
// shall hold from the start.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/health_check.proto
func healthCheck(h *ir.HealthCheck, http2 bool) *corepb.HealthCheck {
	m := &corepb.HealthCheck{
		Timeout:                  duration(h.Timeout),
		Interval:                 duration(h.Interval),
		IntervalJitter:           duration(h.Jitter),
		UnhealthyThreshold:       wrapperspb.UInt32(h.UnhealthyThreshold),
		HealthyThreshold:         wrapperspb.UInt32(h.HealthyThreshold),
		ReuseConnection:          wrapperspb.Bool(true),
		NoTrafficInterval:        duration(h.UnhealthyInterval),
		NoTrafficHealthyInterval: duration(h.Interval),
		UnhealthyInterval:        duration(h.UnhealthyInterval),
		UnhealthyEdgeInterval:    duration(h.UnhealthyInterval),
		HealthyEdgeInterval:      duration(h.Interval),
	}
	if h.Jitter == 0 {
		m.IntervalJitter = nil
	}
	switch {
	case h.HTTP != nil:
		check := &corepb.HealthCheck_HttpHealthCheck{
			Host: h.HTTP.Host, Path: h.HTTP.Path,
			Method:          corepb.RequestMethod(corepb.RequestMethod_value[h.HTTP.Method]),
			CodecClientType: typepb.CodecClientType_HTTP1,
		}
		if http2 {
			check.CodecClientType = typepb.CodecClientType_HTTP2
		}
		for _, s := range h.HTTP.Statuses {
			// Envoy's end is not in the range.
			check.ExpectedStatuses = append(check.ExpectedStatuses, &typepb.Int64Range{Start: int64(s.First), End: int64(s.Last) + 1})
		}
		m.HealthChecker = &corepb.HealthCheck_HttpHealthCheck_{HttpHealthCheck: check}
	case h.GRPC != nil:
		m.HealthChecker = &corepb.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: &corepb.HealthCheck_GrpcHealthCheck{
			ServiceName: h.GRPC.Service, Authority: h.GRPC.Authority,
		}}
	default:
		m.HealthChecker = &corepb.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corepb.HealthCheck_TcpHealthCheck{}}
	}
	return m
}

// outliers states what Envoy would take: of its own accord it also ejects by success rate, and lets a health check that goes
// well end an ejection, which is then over before it does any good.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto
func outliers(o *ir.Outliers) *clusterpb.OutlierDetection {
	enforced := func(threshold uint32) *wrapperspb.UInt32Value {
		if threshold == 0 {
			return wrapperspb.UInt32(0)
		}
		return wrapperspb.UInt32(100)
	}
	return &clusterpb.OutlierDetection{
		Consecutive_5Xx:                        wrapperspb.UInt32(o.Consecutive5xx),
		EnforcingConsecutive_5Xx:               enforced(o.Consecutive5xx),
		ConsecutiveGatewayFailure:              wrapperspb.UInt32(o.ConsecutiveGateway),
		EnforcingConsecutiveGatewayFailure:     enforced(o.ConsecutiveGateway),
		Interval:                               duration(o.Interval),
		BaseEjectionTime:                       duration(o.BaseTime),
		MaxEjectionTime:                        duration(o.MaxTime),
		MaxEjectionTimeJitter:                  durationpb.New(0),
		MaxEjectionPercent:                     wrapperspb.UInt32(o.MaxPercent),
		EnforcingSuccessRate:                   wrapperspb.UInt32(0),
		EnforcingFailurePercentage:             wrapperspb.UInt32(0),
		AlwaysEjectOneHost:                     wrapperspb.Bool(false),
		SuccessfulActiveHealthCheckUnejectHost: wrapperspb.Bool(false),
	}
}
