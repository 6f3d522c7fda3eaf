package dataplane_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message reads a resource from JSON.
func message(t *testing.T, typeURL, text string) proto.Message {
	t.Helper()
	packed := &anypb.Any{}
	if err := protojson.Unmarshal([]byte(`{"@type":"`+typeURL+`",`+text[1:]), packed); err != nil {
		t.Fatal(err)
	}
	m, err := packed.UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// listenerAt is an HTTP listener with its routes by RDS; extra is put into it.
func listenerAt(t *testing.T, port int, extra string) proto.Message {
	t.Helper()
	return message(t, resource.ListenerType, fmt.Sprintf(`{"name":"web","enable_reuse_port":true,%s
"address":{"socket_address":{"address":"127.0.0.1","port_value":%d}},
"filter_chains":[{"filters":[{"name":"http","typed_config":{
  "@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
  "stat_prefix":"x","use_remote_address":true,"normalize_path":true,"generate_request_id":true,
  "rds":{"route_config_name":"t","config_source":{"ads":{},"resource_api_version":"V3"}},
  "http_filters":[{"name":"router","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router","suppress_envoy_headers":true}}]}}]}]}`, extra, port))
}

// fleet is all that one needs, with its traffic going to an address.
func fleet(t *testing.T, upstream string, timeout time.Duration, extra string) []proto.Message {
	t.Helper()
	return []proto.Message{
		xdstest.Cluster("a", timeout), xdstest.Endpoints("a", upstream), listenerAt(t, 0, extra),
		message(t, resource.RouteType, `{"name":"t","virtual_hosts":[{"name":"v","domains":["*"],"routes":[{"match":{"prefix":"/"},"route":{"cluster":"a","timeout":"0s"}}]}]}`),
	}
}

func upstream(t *testing.T, says string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, says) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// proxy is one that runs in the test's process.
type proxy struct {
	t      *testing.T
	admin  string
	ready  chan struct{}
	cancel context.CancelFunc
	ended  chan error
}

func start(t *testing.T, options bootstrap.Options) *proxy {
	t.Helper()
	return startWith(t, options, dataplane.Options{Logger: slog.New(slog.DiscardHandler)})
}

// startWith is start with more options; the test's own are set here.
func startWith(t *testing.T, options bootstrap.Options, run dataplane.Options) *proxy {
	t.Helper()
	options.Admin = "127.0.0.1:0"
	text, err := bootstrap.Write(options)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &proxy{t: t, ready: make(chan struct{}), cancel: cancel, ended: make(chan error, 1)}
	listening := make(chan string, 1)
	run.Bootstrap, run.Version, run.DrainTime = text, "v1.2.3", time.Second
	run.Listening, run.Ready = func(a net.Addr) { listening <- a.String() }, func() { close(p.ready) }
	go func() { p.ended <- dataplane.Run(ctx, run) }()
	t.Cleanup(p.stop)
	select {
	case p.admin = <-listening:
	case err := <-p.ended:
		t.Fatal(err)
	}
	return p
}

// stop ends it, and checks that its end is in good order.
func (p *proxy) stop() {
	if p.ended == nil {
		return
	}
	p.cancel()
	if err := p.wait(p.ended, "its end"); err != nil {
		p.t.Errorf("Run: got %v, want nil", err)
	}
	p.ended = nil
	http.DefaultClient.CloseIdleConnections()
}

func (p *proxy) wait(ended <-chan error, what string) error {
	p.t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(xdstest.Patience):
		p.t.Fatalf("waited in vain for %s", what)
		return nil
	}
}

func (p *proxy) waitReady() {
	p.t.Helper()
	select {
	case <-p.ready:
	case <-time.After(xdstest.Patience):
		p.t.Fatal("waited in vain for the proxy to be ready")
	}
}

// get asks without keeping the connection.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// address is where its listener is.
func (p *proxy) address() string {
	p.t.Helper()
	_, text := get(p.t, "http://"+p.admin+"/listeners")
	_, address, ok := strings.Cut(strings.TrimSpace(text), "::")
	if !ok {
		p.t.Fatalf("/listeners: got %q, want one", text)
	}
	return address
}

func (p *proxy) expect(want string) {
	p.t.Helper()
	if status, got := get(p.t, "http://"+p.address()+"/"); status != 200 || got != want {
		p.t.Errorf("got %d %q, want 200 %q", status, got, want)
	}
}

// eventually waits for an answer.
func (p *proxy) eventually(want string) {
	p.t.Helper()
	for deadline := time.Now().Add(xdstest.Patience); ; {
		_, got := get(p.t, "http://"+p.address()+"/")
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// updates are the counts of accepted responses.
func (p *proxy) updates() string {
	p.t.Helper()
	_, metrics := get(p.t, "http://"+p.admin+"/stats/prometheus")
	var lines []string
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, "sluice_xds_updates_total") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.Join(lines, " ")
}

func (p *proxy) expectState(want string) {
	p.t.Helper()
	if _, got := get(p.t, "http://"+p.admin+"/ready"); strings.TrimSpace(got) != want {
		p.t.Errorf("/ready: got %q, want %q", got, want)
	}
}

func TestRun(t *testing.T) {
	for _, sotw := range []bool{false, true} {
		t.Run(map[bool]string{false: "delta", true: "sotw"}[sotw], func(t *testing.T) { testRun(t, sotw) })
	}
}

func testRun(t *testing.T, sotw bool) {
	one, two := upstream(t, "one"), upstream(t, "two")
	cp := xdstest.Start(t, nil)
	cp.Set("east", fleet(t, one, time.Second, "")...)
	cp.Set("west", fleet(t, two, time.Second, "")...)
	// Two proxies in one process: nothing is global.
	east := start(t, bootstrap.Options{Server: cp.Addr, Fleet: "east", ID: "e", StateOfTheWorld: sotw})
	west := start(t, bootstrap.Options{Server: cp.Addr, Fleet: "west", ID: "w", StateOfTheWorld: sotw})
	east.waitReady()
	east.expect("one")
	east.expectState("LIVE")
	west.waitReady()
	west.expect("two")

	// An edit serves when it is accepted. What was said of the endpoints before counts for nothing.
	cp.Recorder.WaitTimes(t, "acked EDS", 2)
	cp.Recorder.Reset()
	cp.Set("east", fleet(t, two, time.Second, "")...)
	cp.Recorder.Wait(t, "acked EDS")
	east.expect("two")
	west.expect("two")

	// What this proxy does not do is refused by name; the rest serves on.
	cp.Set("east", fleet(t, two, time.Second, `"use_original_dst":true,`)...)
	if line := cp.Recorder.Wait(t, "nacked LDS"); !strings.Contains(line, `listener "web": use_original_dst: got true, want false: not supported by sluice-proxy`) {
		t.Errorf("got %s", line)
	}
	east.expect("two")
	if _, dump := get(t, "http://"+east.admin+"/config_dump"); !json.Valid([]byte(dump)) || !strings.Contains(dump, "use_original_dst: got true") {
		t.Error("/config_dump does not tell what is refused")
	}
	if _, metrics := get(t, "http://"+east.admin+"/stats/prometheus"); !strings.Contains(metrics, `sluice_xds_rejects_total{type="LDS"} 1`) {
		t.Error("/stats/prometheus does not tell what is refused")
	}
	cp.Set("east", fleet(t, two, time.Second, "")...)

	// It serves on without its control plane, and takes only what changed when that comes back.
	cp.Stop()
	east.expect("two")
	before := east.updates()
	cp.Recorder.Reset()
	cp.Set("east", fleet(t, one, time.Second, "")...)
	cp.Restart()
	east.eventually("one")
	cp.Recorder.Wait(t, "node w west")
	if after := east.updates(); !sotw && after != strings.Replace(before, `"EDS"} 2`, `"EDS"} 3`, 1) {
		t.Errorf("sent again though unchanged:\nbefore %s\nafter  %s", before, after)
	}

	// The end: a draining proxy takes nothing new.
	address := west.address()
	if status, _ := post(t, "http://"+west.admin+"/drain_listeners"); status != 200 {
		t.Errorf("/drain_listeners: got %d", status)
	}
	for deadline := time.Now().Add(xdstest.Patience); ; {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("a drained listener accepts")
		}
	}
	west.expectState("DRAINING")
	if status, _ := post(t, "http://"+west.admin+"/quitquitquit"); status != 200 {
		t.Errorf("/quitquitquit: got %d", status)
	}
	if err := west.wait(west.ended, "the end it was told"); err != nil {
		t.Error(err)
	}
	west.ended = nil
	east.expect("one")
}

func post(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Post(url, "", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestControlPlaneComesLater(t *testing.T) {
	cp := xdstest.Start(t, nil)
	cp.Stop()
	p := start(t, bootstrap.Options{Server: cp.Addr, Fleet: "east", ID: "e"})
	p.expectState("INITIALIZING")
	if status, _ := get(t, "http://"+p.admin+"/ready"); status != 503 {
		t.Errorf("/ready: got %d, want 503", status)
	}
	cp.Set("east", fleet(t, upstream(t, "hello"), time.Second, "")...)
	cp.Restart()
	came := time.Now()
	p.waitReady()
	if waited := time.Since(came); waited > 2*time.Second {
		t.Errorf("ready %v after the control plane came, want at most 2s", waited)
	}
	p.expect("hello")
}

const staticHello = `
admin: {address: {socket_address: {address: %q, port_value: %d}}}
static_resources:
  listeners:
  - name: web
    enable_reuse_port: false
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          use_remote_address: true
          route_config: {virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}
`

func TestRunRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for name, tt := range map[string]struct {
		text, want string
		valid      bool
	}{
		"bootstrap":         {"tracing: {}", "bootstrap: tracing: not supported", false},
		"admin address":     {fmt.Sprintf(staticHello, "127.0.0.1", port, 0), "admin: listen tcp", true},
		"listener address":  {fmt.Sprintf(staticHello, "127.0.0.1", 0, port), `listener "web"`, true},
		"static resource":   {strings.Replace(fmt.Sprintf(staticHello, "127.0.0.1", 0, 0), "enable_reuse_port: false", "use_original_dst: true", 1), "use_original_dst: got true", false},
		"node":              {strings.Replace(nodeless, "ID", "", 1), "node.id", false},
		"nothing to ask at": {"dynamic_resources: {lds_config: {ads: {}, resource_api_version: V3}}", "ads_config: got none", false},
	} {
		t.Run(name, func(t *testing.T) {
			options := dataplane.Options{Bootstrap: []byte(tt.text), Logger: slog.New(slog.DiscardHandler), DrainTime: time.Second}
			ctx, cancel := context.WithTimeout(t.Context(), xdstest.Patience) // what is not refused would serve
			defer cancel()
			if err := dataplane.Run(ctx, options); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run: got %v, want %s", err, tt.want)
			}
			if err := dataplane.Validate(options); (err == nil) != tt.valid {
				t.Errorf("Validate: got %v, want valid=%v", err, tt.valid)
			}
		})
	}
}

const nodeless = `
node: {id: "ID", cluster: c}
dynamic_resources:
  ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds}}]}
static_resources:
  clusters:
  - name: xds
    http2_protocol_options: {}
    load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 1}}}}]}]}
`

func TestOverrides(t *testing.T) {
	options := dataplane.Options{Bootstrap: []byte(strings.Replace(nodeless, "ID", "", 1)), NodeID: "n"}
	if err := dataplane.Validate(options); err != nil {
		t.Error(err)
	}
	options = dataplane.Options{Bootstrap: []byte(strings.Replace(nodeless, "ID", "", 1)), Overlay: []byte("node: {id: n}")}
	if err := dataplane.Validate(options); err != nil {
		t.Error(err)
	}
}
