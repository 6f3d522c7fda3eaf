package admin

import "github.com/prometheus/client_golang/prometheus"

// Quarantine makes the number of documents that are held back part of the metrics.
func (m *Metrics) Quarantine(count func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "sluice", Subsystem: "controlplane", Name: "quarantined_documents", Help: "Documents that are held back since proxies refuse them.",
	}, func() float64 { return float64(count()) }))
}
