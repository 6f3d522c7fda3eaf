package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	api := cluster.New(&config.Cluster{Name: "api", MaxRequests: 1},
		[]config.Endpoint{{Address: config.At(netip.MustParseAddrPort("10.0.0.1:80")), Weight: 2, Priority: 0, Locality: config.Locality{Zone: "eu-1a"}}}, nil)
	api.Acquire()
	api.Acquire()
	api.Stats.Status[2].Add(5)
	api.Stats.PanicPicks.Add(2)
	api.Stats.Checks.Add(8)
	api.Stats.CheckFailures.Add(4)
	api.Stats.Ejections.Add(3)
	api.Stats.EjectionOverflows.Add(1)
	api.Endpoints[0].Fall(cluster.FailedCheck)
	api.Endpoints[0].Fall(cluster.Ejected)
	var state atomic.Value
	state.Store(Initializing)
	var overloaded atomic.Pointer[[]string]
	overloaded.Store(&[]string{"connections", "memory"})
	drained := make(chan struct{})
	s := New(Options{
		Version: "1.2.3",
		State:   func() State { return state.Load().(State) },
		View: func() View {
			return View{
				Listeners:   []Listener{{Name: "0.0.0.0:8443", Addresses: []config.Address{config.At(netip.MustParseAddrPort("0.0.0.0:8443"))}, ConnectionsTotal: 9, Requests: [6]int64{2: 7}, Refused: map[string]int64{"client": 3}, RequestsRefused: 4, BodiesSlow: 5, BadProxyHeaders: 6}},
				Connections: 6, MaxConnections: 8, MemoryUsed: 10, MaxMemory: 20,
				Clusters: []*cluster.Cluster{api},
			}
		},
		Overloaded: func() []string { return *overloaded.Load() },
		XDS: func() XDS {
			return XDS{Connected: true, Updates: map[string]int64{"LDS": 3}, Rejects: map[string]int64{"RDS": 1}}
		},
		ConfigDump:     func() ([]byte, error) { return []byte(`{"configs":[]}`), nil },
		DrainListeners: func() { close(drained) },
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, listener) }()
	client := &http.Client{}
	ask := func(method, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+listener.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}

	if code, body := ask("GET", "/ready"); code != 503 || body != "INITIALIZING\n" {
		t.Errorf("before the configuration: got %d %q, want 503 INITIALIZING", code, body)
	}
	state.Store(Live)
	if code, body := ask("GET", "/ready"); code != 503 || body != "OVERLOADED: connections, memory\n" {
		t.Errorf("while overloaded: got %d %q, want 503 OVERLOADED", code, body)
	}
	overloaded.Store(&[]string{"memory"})
	for _, c := range []struct {
		method, path string
		code         int
		want         []string
	}{
		{"GET", "/stats/prometheus", 200, []string{
			`sluice_overloaded{reason="connections"} 0`, `sluice_overloaded{reason="memory"} 1`,
			`sluice_connections_active 6`, `sluice_connections_max 8`, `sluice_memory_used_bytes 10`, `sluice_memory_max_bytes 20`,
			`sluice_listener_connections_refused_total{listener="0.0.0.0:8443",reason="client"} 3`,
			`sluice_http_requests_refused_total{listener="0.0.0.0:8443"} 4`, `sluice_http_slow_bodies_total{listener="0.0.0.0:8443"} 5`,
			`sluice_listener_proxy_protocol_errors_total{listener="0.0.0.0:8443"} 6`,
			`sluice_cluster_health_checks_total{cluster="api"} 8`, `sluice_cluster_health_check_failures_total{cluster="api"} 4`,
			`sluice_cluster_endpoints_healthy{cluster="api"} 0`, `sluice_cluster_endpoints_ejected{cluster="api"} 1`,
			`sluice_cluster_ejections_total{cluster="api"} 3`, `sluice_cluster_ejection_overflows_total{cluster="api"} 1`,
		}},
		{"GET", "/ready", 503, []string{"OVERLOADED: memory"}},
		{"GET", "/", 200, []string{"/config_dump"}},
		{"GET", "/nope", 404, nil},
		{"GET", "/config_dump", 200, []string{`{"configs":[]}`}},
		{"GET", "/listeners", 200, []string{"0.0.0.0:8443::0.0.0.0:8443"}},
		{"GET", "/listeners?format=json", 200, []string{`"listener_statuses"`, `"cx_total": 9`}},
		{"GET", "/clusters", 200, []string{"api::rq_total::1", "api::10.0.0.1:80::weight::2", "api::10.0.0.1:80::priority::0", "api::10.0.0.1:80::zone::eu-1a", "api::10.0.0.1:80::health_flags::/failed_active_hc/failed_outlier_check\n"}},
		{"GET", "/clusters?format=json", 200, []string{`"cluster_statuses"`, `"weight": 2`, `"zone": "eu-1a"`}},
		{"GET", "/server_info", 200, []string{`"state": "LIVE"`, `"version": "1.2.3"`}},
		{"GET", "/debug/pprof/", 200, []string{"heap", "goroutine"}},
		{"GET", "/debug/pprof/goroutine?debug=1", 200, []string{"goroutine profile:"}},
		{"GET", "/debug/pprof/profile?seconds=1", 200, []string{"\x1f\x8b"}}, // gzip, as pprof's files are
		{"GET", "/drain_listeners", 405, nil},
		{"POST", "/quitquitquit", 501, nil},
		{"POST", "/drain_listeners", 200, nil},
		{"GET", "/stats/prometheus", 200, []string{
			`sluice_build_info{version="1.2.3"} 1`,
			`sluice_http_requests_total{class="2xx",listener="0.0.0.0:8443"} 7`,
			`sluice_cluster_overflows_total{cluster="api"} 1`, `sluice_cluster_panic_picks_total{cluster="api"} 2`,
			`sluice_cluster_responses_total{class="2xx",cluster="api"} 5`,
			`sluice_xds_rejects_total{type="RDS"} 1`,
		}},
	} {
		code, body := ask(c.method, c.path)
		if code != c.code {
			t.Errorf("%s %s: got %d, want %d", c.method, c.path, code, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s %s: got %s, want %s in it", c.method, c.path, body, want)
			}
		}
	}
	<-drained
	overloaded.Store(&[]string{})
	if code, body := ask("GET", "/ready"); code != 200 || body != "LIVE\n" {
		t.Errorf("got %d %q, want 200 LIVE", code, body)
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
