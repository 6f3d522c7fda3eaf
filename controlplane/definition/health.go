package definition

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

const (
	defaultCheckInterval      = "5s"
	defaultCheckTimeout       = "1s"
	defaultHealthyThreshold   = 2
	defaultUnhealthyThreshold = 3
	defaultCheckJitter        = "0s"
	defaultCheckPath          = "/"
	defaultCheckStatus        = "200"
	defaultCheckMethod        = "GET"
	// leastInterval keeps checks and sweeps from being the load themselves.
	leastInterval = 10 * time.Millisecond

	defaultConsecutive5xx     = 5
	defaultOutlierInterval    = "10s"
	defaultBaseEjectionTime   = 30 * time.Second
	defaultMaxEjectionTime    = 5 * time.Minute
	defaultMaxEjectionPercent = "50%"
)

// checkHealth looks for checks that could never be as they are written.
func checkHealth(s *sluicev1.Service, report reporter) {
	const at = "healthCheck"
	h := s.GetHealthCheck()
	atLeast(h.GetInterval(), leastInterval, at+".interval", report)
	atLeast(h.GetUnhealthyInterval(), leastInterval, at+".unhealthyInterval", report)
	atLeast(h.GetTimeout(), time.Millisecond, at+".timeout", report)
	checkDuration(h.GetJitter(), at+".jitter", report)
	if h.GetGrpc() != nil && s.GetProtocol() != sluicev1.Service_HTTP2 {
		report(at+".grpc", CodeExclusive, "got grpc in a Service that speaks HTTP1, want protocol: HTTP2, or http or tcp: gRPC needs HTTP/2")
	}
	for i, text := range h.GetHttp().GetStatuses() {
		if first, last, err := ParseStatuses(text); err == nil && last < first {
			report(itemPath(at+".http.statuses", i), CodeInvalidValue, fmt.Sprintf("got %s, want the smaller status first", text))
		}
	}
}

func checkOutliers(o *sluicev1.OutlierDetection, report reporter) {
	const at = "outlierDetection"
	atLeast(o.GetInterval(), leastInterval, at+".interval", report)
	atLeast(o.GetBaseEjectionTime(), time.Millisecond, at+".baseEjectionTime", report)
	checkDuration(o.GetMaxEjectionTime(), at+".maxEjectionTime", report)
	base, err := ParseDuration(o.GetBaseEjectionTime())
	most, err2 := ParseDuration(o.GetMaxEjectionTime())
	if o.GetBaseEjectionTime() == "" {
		base = defaultBaseEjectionTime
	}
	if err == nil && err2 == nil && o.GetMaxEjectionTime() != "" && most < base {
		report(at+".maxEjectionTime", CodeDuration, fmt.Sprintf("got %s, want baseEjectionTime, %s, or more", o.GetMaxEjectionTime(), base))
	}
}

// atLeast checks a duration that, if it is written, may not be too short.
func atLeast(text string, least time.Duration, at string, report reporter) {
	checkDuration(text, at, report)
	if d, err := ParseDuration(text); err == nil && text != "" && d < least {
		report(at, CodeDuration, fmt.Sprintf("got %s, want %s or more", text, least))
	}
}

// ParseStatuses reads a status, or a range of them, first and last. Of a checked message it never fails.
func ParseStatuses(text string) (first, last int, err error) {
	a, b, ranged := strings.Cut(text, "-")
	if !ranged {
		b = a
	}
	if first, err = strconv.Atoi(a); err == nil {
		last, err = strconv.Atoi(b)
	}
	return first, last, err
}

// healthDefaults fills in what is not written; host is the Service's name.
func healthDefaults(h *sluicev1.HealthCheck, host string) {
	if h == nil {
		return
	}
	orText(&h.Interval, defaultCheckInterval)
	orText(&h.UnhealthyInterval, h.GetInterval())
	orText(&h.Timeout, defaultCheckTimeout)
	orText(&h.Jitter, defaultCheckJitter)
	orNumber(&h.HealthyThreshold, defaultHealthyThreshold)
	orNumber(&h.UnhealthyThreshold, defaultUnhealthyThreshold)
	if c := h.GetHttp(); c != nil {
		orText(&c.Path, defaultCheckPath)
		orText(&c.Host, host)
		orText(&c.Method, defaultCheckMethod)
		orList(&c.Statuses, defaultCheckStatus)
	}
	if c := h.GetGrpc(); c != nil {
		orText(&c.Authority, host)
	}
}

func outlierDefaults(o *sluicev1.OutlierDetection) {
	if o == nil {
		return
	}
	if o.Consecutive_5Xx == nil && o.ConsecutiveGatewayErrors == nil {
		o.Consecutive_5Xx = proto.Uint32(defaultConsecutive5xx)
	}
	orText(&o.Interval, defaultOutlierInterval)
	orText(&o.BaseEjectionTime, defaultBaseEjectionTime.String())
	if base, err := ParseDuration(o.GetBaseEjectionTime()); err == nil {
		orText(&o.MaxEjectionTime, max(base, defaultMaxEjectionTime).String())
	}
	orText(&o.MaxEjectionPercent, defaultMaxEjectionPercent)
}
