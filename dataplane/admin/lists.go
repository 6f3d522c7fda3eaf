package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

type endpointRow struct {
	Address  string `json:"address"`
	Hostname string `json:"hostname,omitempty"`
	Weight   uint32 `json:"weight"`
	Priority uint32 `json:"priority"`
	Zone     string `json:"zone,omitempty"`
	Active   int64  `json:"rq_active"`
	Total    int64  `json:"rq_total"`
	Failures int64  `json:"rq_error"`
	Health   string `json:"health_flags"`
}

type clusterRow struct {
	Name      string           `json:"name"`
	Policy    string           `json:"lb_policy"`
	Protocol  string           `json:"protocol"`
	Counters  map[string]int64 `json:"counters"`
	Endpoints []endpointRow    `json:"endpoints"`
}

// healthFlags are Envoy's words for why an endpoint gets nothing.
// https://www.envoyproxy.io/docs/envoy/latest/operations/admin#get--clusters
func healthFlags(why cluster.Illness) string {
	var flags string
	for _, f := range []struct {
		why  cluster.Illness
		word string
	}{
		{cluster.FailedCheck, "/failed_active_hc"}, {cluster.Ejected, "/failed_outlier_check"},
		{cluster.Told, "/failed_eds_health"}, {cluster.Draining, "/eds_status_draining"},
	} {
		if why&f.why != 0 {
			flags += f.word
		}
	}
	return cmp.Or(flags, "healthy")
}

func clusterRows(clusters []*cluster.Cluster) []clusterRow {
	rows := []clusterRow{}
	for _, c := range clusters {
		row := clusterRow{
			Name: c.Config.Name, Policy: "ROUND_ROBIN", Protocol: "HTTP/1.1",
			Counters: map[string]int64{
				"rq_active": c.Stats.RequestsActive.Load(), "rq_total": c.Stats.Requests.Load(),
				"cx_active": c.Stats.ConnectionsActive.Load(), "cx_total": c.Stats.ConnectionsTotal.Load(),
				"cx_connect_fail": c.Stats.ConnectFailures.Load(), "rq_timeout": c.Stats.Timeouts.Load(),
			},
			Endpoints: []endpointRow{},
		}
		switch c.Config.Policy {
		case config.LeastRequest:
			row.Policy = "LEAST_REQUEST"
		case config.Random:
			row.Policy = "RANDOM"
		case config.RingHash:
			row.Policy = "RING_HASH"
		case config.Maglev:
			row.Policy = "MAGLEV"
		}
		if c.Config.HTTP2 {
			row.Protocol = "HTTP/2"
		}
		for _, e := range c.Endpoints {
			row.Endpoints = append(row.Endpoints, endpointRow{
				Address: e.Address.String(), Hostname: e.Hostname, Weight: e.Weight, Priority: e.Priority, Zone: e.Locality.Zone,
				Active: e.Active.Load(), Total: e.Requests.Load(), Failures: e.Failures.Load(),
				Health: healthFlags(e.Illness()),
			})
		}
		rows = append(rows, row)
	}
	return rows
}

// clusters is Envoy's text form, cluster::what::value, or JSON.
func (s *Server) clusters(w http.ResponseWriter, r *http.Request) {
	rows := clusterRows(s.options.View().Clusters)
	if r.URL.Query().Get("format") == "json" {
		writeJSON(w, map[string]any{"cluster_statuses": rows})
		return
	}
	var out strings.Builder
	for _, c := range rows {
		fmt.Fprintf(&out, "%s::lb_policy::%s\n%s::protocol::%s\n", c.Name, c.Policy, c.Name, c.Protocol)
		for _, name := range []string{"rq_active", "rq_total", "rq_timeout", "cx_active", "cx_total", "cx_connect_fail"} {
			fmt.Fprintf(&out, "%s::%s::%d\n", c.Name, name, c.Counters[name])
		}
		for _, e := range c.Endpoints {
			if e.Hostname != "" {
				fmt.Fprintf(&out, "%s::%s::hostname::%s\n", c.Name, e.Address, e.Hostname)
			}
			for _, line := range []struct {
				name  string
				value int64
			}{{"weight", int64(e.Weight)}, {"priority", int64(e.Priority)}, {"rq_active", e.Active}, {"rq_total", e.Total}, {"rq_error", e.Failures}} {
				fmt.Fprintf(&out, "%s::%s::%s::%d\n", c.Name, e.Address, line.name, line.value)
			}
			fmt.Fprintf(&out, "%s::%s::health_flags::%s\n", c.Name, e.Address, e.Health)
			fmt.Fprintf(&out, "%s::%s::zone::%s\n", c.Name, e.Address, e.Zone)
		}
	}
	fmt.Fprint(w, out.String())
}

// listeners is Envoy's text form, name::address, or JSON.
func (s *Server) listeners(w http.ResponseWriter, r *http.Request) {
	view := s.options.View()
	if r.URL.Query().Get("format") == "json" {
		type row struct {
			Name              string   `json:"name"`
			Addresses         []string `json:"addresses"`
			ConnectionsActive int64    `json:"cx_active"`
			ConnectionsTotal  int64    `json:"cx_total"`
		}
		rows := []row{}
		for _, l := range view.Listeners {
			one := row{Name: l.Name, Addresses: []string{}, ConnectionsActive: l.ConnectionsActive, ConnectionsTotal: l.ConnectionsTotal}
			for _, a := range l.Addresses {
				one.Addresses = append(one.Addresses, a.String())
			}
			rows = append(rows, one)
		}
		writeJSON(w, map[string]any{"listener_statuses": rows})
		return
	}
	for _, l := range view.Listeners {
		for _, a := range l.Addresses {
			fmt.Fprintf(w, "%s::%s\n", l.Name, a)
		}
	}
}
