package compile

import (
	"time"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// lasting is a duration of a checked message.
func lasting(text string) time.Duration {
	d, _ := definition.ParseDuration(text)
	return d
}

// healthCheck is nil where nobody is asked. The message is checked, and has its defaults.
func healthCheck(m *sluicev1.HealthCheck) *ir.HealthCheck {
	if m == nil {
		return nil
	}
	h := &ir.HealthCheck{
		Interval: lasting(m.GetInterval()), UnhealthyInterval: lasting(m.GetUnhealthyInterval()),
		Jitter: lasting(m.GetJitter()), Timeout: lasting(m.GetTimeout()),
		HealthyThreshold: m.GetHealthyThreshold(), UnhealthyThreshold: m.GetUnhealthyThreshold(),
	}
	if c := m.GetHttp(); c != nil {
		h.HTTP = &ir.HTTPCheck{Method: c.GetMethod(), Path: c.GetPath(), Host: c.GetHost()}
		for _, text := range c.GetStatuses() {
			first, last, _ := definition.ParseStatuses(text)
			h.HTTP.Statuses = append(h.HTTP.Statuses, ir.StatusRange{First: first, Last: last})
		}
	}
	if c := m.GetGrpc(); c != nil {
		h.GRPC = &ir.GRPCCheck{Service: c.GetService(), Authority: c.GetAuthority()}
	}
	return h
}

// outliers is nil where nobody is taken out.
func outliers(m *sluicev1.OutlierDetection) *ir.Outliers {
	if m == nil {
		return nil
	}
	percent, _ := definition.ParsePercent(m.GetMaxEjectionPercent())
	return &ir.Outliers{
		Consecutive5xx: m.GetConsecutive_5Xx(), ConsecutiveGateway: m.GetConsecutiveGatewayErrors(),
		Interval: lasting(m.GetInterval()), BaseTime: lasting(m.GetBaseEjectionTime()), MaxTime: lasting(m.GetMaxEjectionTime()),
		MaxPercent: percent,
	}
}
