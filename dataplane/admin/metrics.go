package admin

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sluice_"+name, help, labels, nil)
}

// The metrics. docs/proxy.md lists them for people.
var (
	buildInfo = desc("build_info", "1, with the version.", "version")
	isLive    = desc("live", "1 when serving, 0 before the first complete configuration and while draining.")

	connections    = desc("connections_active", "Connections open, of all listeners.")
	maxConnections = desc("connections_max", "How many connections may be open.")
	memoryUsed     = desc("memory_used_bytes", "Memory in use, as the overload manager's fixed_heap sees it.")
	maxMemory      = desc("memory_max_bytes", "The overload manager's max_heap_size_bytes.")
	overloaded     = desc("overloaded", "1 while new work is refused, by reason.", "reason")

	listenerRefused           = desc("listener_connections_refused_total", "Connections refused at a limit, by reason.", "listener", "reason")
	httpRefused               = desc("http_requests_refused_total", "Requests answered 503 for want of memory.", "listener")
	httpSlow                  = desc("http_slow_bodies_total", "Requests given up since their body came too slowly.", "listener")
	listenerConnections       = desc("listener_connections_total", "Connections accepted.", "listener")
	listenerConnectionsActive = desc("listener_connections_active", "Connections open.", "listener")
	listenerHandshakeFailures = desc("listener_handshake_failures_total", "Connections that ended before a filter chain took them.", "listener")
	listenerBadClients        = desc("listener_client_certificate_errors_total", "Handshakes refused for a client's certificate that is not taken.", "listener")
	listenerBadHeaders        = desc("listener_proxy_protocol_errors_total", "Connections closed for a PROXY protocol header that is malformed, or missing.", "listener")
	httpRequests              = desc("http_requests_total", "Requests ended, by class of the answer's status; class none is no answer.", "listener", "class")
	httpUpgrades              = desc("http_upgrades_total", "Requests that switched to another protocol, such as WebSocket.", "listener")
	httpUpgradesActive        = desc("http_upgrades_active", "Of them, those that speak it still.", "listener")
	httpRequestsActive        = desc("http_requests_active", "Requests under way.", "listener")

	clusterRequests          = desc("cluster_requests_total", "Requests sent to the cluster.", "cluster")
	clusterRequestsActive    = desc("cluster_requests_active", "Requests under way.", "cluster")
	clusterResponses         = desc("cluster_responses_total", "Answers, by class of status.", "cluster", "class")
	clusterOverflows         = desc("cluster_overflows_total", "Requests refused by the circuit breaker.", "cluster")
	clusterConnections       = desc("cluster_connections_total", "Connections made.", "cluster")
	clusterConnectionsActive = desc("cluster_connections_active", "Connections open.", "cluster")
	clusterTLSFailures       = desc("cluster_tls_failures_total", "Of the connections that could not be made, those that failed in the TLS handshake.", "cluster")
	clusterConnectFailures   = desc("cluster_connect_failures_total", "Connections that could not be made, time-outs included.", "cluster")
	clusterResets            = desc("cluster_resets_total", "Upstreams that went away before the end of their answer.", "cluster")
	clusterTimeouts          = desc("cluster_timeouts_total", "Requests that took too long.", "cluster")
	clusterRetries           = desc("cluster_retries_total", "Requests sent again.", "cluster")
	clusterPanicPicks        = desc("cluster_panic_picks_total", "Endpoints chosen, ill or not, since too few of their priority were healthy (Envoy's lb_healthy_panic).", "cluster")
	clusterChecks            = desc("cluster_health_checks_total", "Health checks made.", "cluster")
	clusterCheckFailures     = desc("cluster_health_check_failures_total", "Health checks that failed.", "cluster")
	clusterHealthy           = desc("cluster_endpoints_healthy", "Endpoints without any illness.", "cluster")
	clusterEjected           = desc("cluster_endpoints_ejected", "Endpoints that outlier detection has taken out.", "cluster")
	clusterEjections         = desc("cluster_ejections_total", "Times that outlier detection took an endpoint out.", "cluster")
	clusterEjectionOverflows = desc("cluster_ejection_overflows_total", "Times that it did not, since too many were out.", "cluster")
	clusterRetriesActive     = desc("cluster_retries_active", "Requests sent again of which it is not known yet what came of it.", "cluster")
	clusterRetrySuccesses    = desc("cluster_retry_successes_total", "Requests sent again and answered below 500 in the end.", "cluster")
	clusterRetriesExhausted  = desc("cluster_retries_exhausted_total", "Requests sent again as often as their route allows, in vain.", "cluster")
	clusterRetryOverflows    = desc("cluster_retry_overflows_total", "Requests not sent again for the circuit breaker's limit on retries.", "cluster")
	clusterMirrors           = desc("cluster_mirrored_requests_total", "Copies of others' requests sent to the cluster.", "cluster")
	clusterMirrorsDropped    = desc("cluster_mirrored_requests_dropped_total", "Copies that were not sent, or not to their end: none was free, or it was too slow.", "cluster")
	clusterEndpoints         = desc("cluster_endpoints", "Endpoints.", "cluster")

	dnsResolutions = desc("dns_resolutions_total", "Answers with addresses, by name.", "name")
	dnsFailures    = desc("dns_failures_total", "Lookups without one: its last addresses are kept.", "name")
	dnsAge         = desc("dns_answer_age_seconds", "How old the addresses of a name are; no series if it has had none.", "name")

	xdsConnected = desc("xds_connected", "1 while the control plane's stream is open.")
	xdsLastGood  = desc("xds_last_good", "1 while what serves is the last good configuration from disk, since no control plane has answered yet.")
	xdsUpdates   = desc("xds_updates_total", "Responses accepted, by type.", "type")
	xdsRejects   = desc("xds_rejects_total", "Responses rejected, by type.", "type")
)

// collector reads the state when it is asked: the request path only counts.
type collector struct{ server *Server }

// Describe sends nothing: which series there are depends on the configuration (an "unchecked" collector).
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect is one reading.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	options := &c.server.options
	gauge(buildInfo, 1, options.Version)
	gauge(isLive, truth(options.State() == Live))
	view := options.View()
	gauge(connections, float64(view.Connections))
	gauge(maxConnections, float64(view.MaxConnections))
	if view.MaxMemory > 0 {
		gauge(memoryUsed, float64(view.MemoryUsed))
		gauge(maxMemory, float64(view.MaxMemory))
	}
	refusing := options.Overloaded()
	for _, why := range []string{"connections", "memory"} {
		gauge(overloaded, truth(slices.Contains(refusing, why)), why)
	}
	for _, l := range view.Listeners {
		for _, why := range sortedKeys(l.Refused) {
			counter(listenerRefused, l.Refused[why], l.Name, why)
		}
		counter(httpRefused, l.RequestsRefused, l.Name)
		counter(httpSlow, l.BodiesSlow, l.Name)
		counter(listenerConnections, l.ConnectionsTotal, l.Name)
		gauge(listenerConnectionsActive, float64(l.ConnectionsActive), l.Name)
		counter(listenerHandshakeFailures, l.HandshakeFailures, l.Name)
		counter(listenerBadClients, l.BadClientCertificates, l.Name)
		counter(listenerBadHeaders, l.BadProxyHeaders, l.Name)
		gauge(httpRequestsActive, float64(l.RequestsActive), l.Name)
		counter(httpUpgrades, l.UpgradesTotal, l.Name)
		gauge(httpUpgradesActive, float64(l.UpgradesActive), l.Name)
		for i, n := range l.Requests {
			counter(httpRequests, n, l.Name, class(i))
		}
	}
	for _, cl := range view.Clusters {
		name, stats := cl.Config.Name, cl.Stats
		counter(clusterRequests, stats.Requests.Load(), name)
		gauge(clusterRequestsActive, float64(stats.RequestsActive.Load()), name)
		for i := 1; i < len(stats.Status); i++ {
			counter(clusterResponses, stats.Status[i].Load(), name, class(i))
		}
		counter(clusterOverflows, stats.Overflows.Load(), name)
		counter(clusterConnections, stats.ConnectionsTotal.Load(), name)
		gauge(clusterConnectionsActive, float64(stats.ConnectionsActive.Load()), name)
		counter(clusterConnectFailures, stats.ConnectFailures.Load(), name)
		counter(clusterTLSFailures, stats.TLSFailures.Load(), name)
		counter(clusterResets, stats.Resets.Load(), name)
		counter(clusterTimeouts, stats.Timeouts.Load(), name)
		counter(clusterRetries, stats.Retries.Load(), name)
		counter(clusterPanicPicks, stats.PanicPicks.Load(), name)
		gauge(clusterRetriesActive, float64(stats.RetriesActive.Load()), name)
		counter(clusterRetrySuccesses, stats.RetrySuccesses.Load(), name)
		counter(clusterRetriesExhausted, stats.RetriesExhausted.Load(), name)
		counter(clusterRetryOverflows, stats.RetryOverflows.Load(), name)
		counter(clusterMirrors, stats.Mirrors.Load(), name)
		counter(clusterMirrorsDropped, stats.MirrorsDropped.Load(), name)
		gauge(clusterEndpoints, float64(len(cl.Endpoints)), name)
		healthy, ejected := census(cl)
		gauge(clusterHealthy, float64(healthy), name)
		gauge(clusterEjected, float64(ejected), name)
		counter(clusterChecks, stats.Checks.Load(), name)
		counter(clusterCheckFailures, stats.CheckFailures.Load(), name)
		counter(clusterEjections, stats.Ejections.Load(), name)
		counter(clusterEjectionOverflows, stats.EjectionOverflows.Load(), name)
	}
	for _, n := range view.Names {
		counter(dnsResolutions, n.Resolutions, n.Host)
		counter(dnsFailures, n.Failures, n.Host)
		if !n.Answered.IsZero() {
			gauge(dnsAge, time.Since(n.Answered).Seconds(), n.Host)
		}
	}
	if options.XDS == nil {
		return
	}
	xds := options.XDS()
	gauge(xdsConnected, truth(xds.Connected))
	gauge(xdsLastGood, truth(xds.FallenBack))
	for _, t := range sortedKeys(xds.Updates) {
		counter(xdsUpdates, xds.Updates[t], t)
	}
	for _, t := range sortedKeys(xds.Rejects) {
		counter(xdsRejects, xds.Rejects[t], t)
	}
}

// census counts the endpoints that are healthy, and those that were taken out.
func census(c *cluster.Cluster) (healthy, ejected int) {
	for _, e := range c.Endpoints {
		if e.Healthy() {
			healthy++
		}
		if e.Illness()&cluster.Ejected != 0 {
			ejected++
		}
	}
	return healthy, ejected
}

func class(i int) string {
	if i == 0 {
		return "none"
	}
	return fmt.Sprintf("%dxx", i)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
