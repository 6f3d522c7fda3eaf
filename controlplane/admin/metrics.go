package admin

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
)

// Metrics are the control plane's own, in a registry of their own. It is a server.Observer that counts and passes on.
// Safe for concurrent use.
type Metrics struct {
	server.Observer
	registry *prometheus.Registry

	pushes, acks, nacks *prometheus.CounterVec
	builds              *prometheus.CounterVec
	duration            prometheus.Histogram
	lastBuild           prometheus.Gauge
	documents, problems *prometheus.GaugeVec
	proxies             Proxies
	queued, converged   *prometheus.HistogramVec
	bytes               *prometheus.CounterVec
}

// NewMetrics makes the metrics. Everything that is observed is counted and goes on to next.
func NewMetrics(next server.Observer, proxies Proxies) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sluice", Subsystem: "controlplane", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "sluice", Subsystem: "controlplane", Name: name, Help: help}, labels)
	}
	travel := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "sluice", Subsystem: "controlplane", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}, []string{"type"})
	}
	m := &Metrics{
		Observer: next, proxies: proxies,
		queued:    travel("queue_duration_seconds", "From the publishing of a change until a proxy was sent all of it, in seconds."),
		converged: travel("convergence_duration_seconds", "From the publishing of a change until a proxy accepted it, in seconds."),
		bytes:     counter("sent_bytes_total", "Bytes of xDS responses, as they are before TLS.", "type"),
		registry:  prometheus.NewRegistry(),
		pushes:    counter("pushes_total", "Versions of a type that a proxy was sent in full.", "type"),
		acks:      counter("acks_total", "Versions of a type that a proxy accepted in full.", "type"),
		nacks:     counter("nacks_total", "xDS responses that proxies refused.", "type"),
		builds:    counter("builds_total", "Builds: whether they changed what is served, or came to nothing by a panic.", "result"),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "sluice", Subsystem: "controlplane", Name: "build_duration_seconds", Help: "From the files to the snapshots, in seconds.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 10),
		}),
		lastBuild: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "sluice", Subsystem: "controlplane", Name: "last_build_timestamp_seconds", Help: "When the last build ended, as a Unix time.",
		}),
		documents: gauge("documents", "Documents that are served.", "kind"),
		problems:  gauge("problems", "Problems of documents now.", "severity"),
	}
	m.registry.MustRegister(m.pushes, m.acks, m.nacks, m.builds, m.duration, m.lastBuild, m.documents, m.problems, m.queued, m.converged, m.bytes,
		&proxyCollector{proxies: proxies}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.builds.WithLabelValues("panic") // there from the start, for who is woken by it
	for _, t := range resource.PushOrder {
		m.pushes.WithLabelValues(t.Short)
		m.acks.WithLabelValues(t.Short)
		m.nacks.WithLabelValues(t.Short)
		m.bytes.WithLabelValues(t.Short)
		m.queued.WithLabelValues(t.Short)
		m.converged.WithLabelValues(t.Short)
	}
	return m
}

// Sent counts a push.
func (m *Metrics) Sent(id server.StreamID, typeURL, version string) {
	m.pushes.WithLabelValues(label(typeURL)).Inc()
	if age, ok := m.proxies.Age(id, typeURL, version); ok {
		m.queued.WithLabelValues(label(typeURL)).Observe(age.Seconds())
	}
	m.Observer.Sent(id, typeURL, version)
}

// Acked counts an acceptance.
func (m *Metrics) Acked(id server.StreamID, typeURL, version string) {
	m.acks.WithLabelValues(label(typeURL)).Inc()
	if age, ok := m.proxies.Age(id, typeURL, version); ok {
		m.converged.WithLabelValues(label(typeURL)).Observe(age.Seconds())
	}
	m.Observer.Acked(id, typeURL, version)
}

// Nacked counts a rejection.
func (m *Metrics) Nacked(id server.StreamID, typeURL, version, message string) {
	m.nacks.WithLabelValues(label(typeURL)).Inc()
	m.Observer.Nacked(id, typeURL, version, message)
}

// label keeps what a stranger sends from making new series.
func label(typeURL string) string {
	if t, ok := resource.ByURL(typeURL); ok {
		return t.Short
	}
	return "other"
}

// Built notes one build: how long it took, whether it changed what is served, and what it found.
func (m *Metrics) Built(took time.Duration, changed bool, documents map[string]int, problems map[string]int) {
	result := "unchanged"
	if changed {
		result = "changed"
	}
	m.builds.WithLabelValues(result).Inc()
	m.duration.Observe(took.Seconds())
	m.lastBuild.SetToCurrentTime()
	for _, kind := range []string{"Gateway", "Route", "Service", "Certificate", "TrustBundle"} {
		m.documents.WithLabelValues(kind).Set(float64(documents[kind]))
	}
	for _, severity := range []string{"error", "warning"} {
		m.problems.WithLabelValues(severity).Set(float64(problems[severity]))
	}
}

// Panicked notes a build that came to nothing.
func (m *Metrics) Panicked() { m.builds.WithLabelValues("panic").Inc() }

// Lookups are names that the control plane looks up.
type Lookups interface {
	// Counts are the names, how many of them have a fault now, and how many lookups came to something and to nothing.
	Counts() (names, faulty int, good, failed uint64)
}

// Names makes the figures of names part of the metrics.
func (m *Metrics) Names(names Lookups) { m.registry.MustRegister(nameCollector{names}) }

type nameCollector struct{ names Lookups }

var (
	namesDesc   = prometheus.NewDesc("sluice_controlplane_srv_names", "SRV names that are looked up, by whether all is well with them.", []string{"state"}, nil)
	lookupsDesc = prometheus.NewDesc("sluice_controlplane_srv_lookups_total", "Lookups of SRV names, by whether servers came of them.", []string{"result"}, nil)
)

// Describe is part of prometheus.Collector.
func (c nameCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- namesDesc
	ch <- lookupsDesc
}

// Collect is part of prometheus.Collector.
func (c nameCollector) Collect(ch chan<- prometheus.Metric) {
	names, faulty, good, failed := c.names.Counts()
	ch <- prometheus.MustNewConstMetric(namesDesc, prometheus.GaugeValue, float64(names-faulty), "ok")
	ch <- prometheus.MustNewConstMetric(namesDesc, prometheus.GaugeValue, float64(faulty), "failing")
	ch <- prometheus.MustNewConstMetric(lookupsDesc, prometheus.CounterValue, float64(good), "ok")
	ch <- prometheus.MustNewConstMetric(lookupsDesc, prometheus.CounterValue, float64(failed), "failed")
}

// proxyCollector counts proxies when it is asked.
type proxyCollector struct{ proxies Proxies }

var (
	connectedDesc = prometheus.NewDesc("sluice_controlplane_connected_proxies", "Proxies that are connected.", []string{"fleet"}, nil)
	stateDesc     = prometheus.NewDesc("sluice_controlplane_proxy_types", "Connected proxies by resource type and state.", []string{"fleet", "type", "state"}, nil)
)

// Describe is part of prometheus.Collector.
func (c *proxyCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- connectedDesc
	ch <- stateDesc
}

// maxFleets is for how many fleets there are series: a proxy says by itself which fleet it is of.
const maxFleets = 1000

// Collect is part of prometheus.Collector.
func (c *proxyCollector) Collect(ch chan<- prometheus.Metric) {
	type series struct{ fleet, typ, state string }
	connected := map[string]int{}
	states := map[series]int{}
	for _, p := range c.proxies.Proxies("") {
		fleet := p.Fleet
		if _, known := connected[fleet]; !known && len(connected) >= maxFleets {
			fleet = "other"
		}
		if !p.Connected {
			connected[fleet] += 0
			continue
		}
		connected[fleet]++
		for _, t := range p.Types {
			states[series{fleet, t.Short, string(t.State)}]++
		}
	}
	for fleet, n := range connected {
		ch <- prometheus.MustNewConstMetric(connectedDesc, prometheus.GaugeValue, float64(n), fleet)
	}
	for s, n := range states {
		ch <- prometheus.MustNewConstMetric(stateDesc, prometheus.GaugeValue, float64(n), s.fleet, s.typ, s.state)
	}
}

var _ Proxies = (*status.Tracker)(nil)
