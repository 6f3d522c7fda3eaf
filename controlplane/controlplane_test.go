package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/identity"
	"github.com/sluice-proxy/sluice/controlplane/identity/authority"
	"github.com/sluice-proxy/sluice/controlplane/identity/entrance"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/xdstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a control plane in this process.
type running struct {
	t        *testing.T
	dir      string
	xds, ops string
	log      *lines
	stop     func()
}

// lines is a log that can be waited for.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait waits until a pattern was logged so many times.
func (l *lines) wait(t *testing.T, pattern string, times int) {
	t.Helper()
	re, late := regexp.MustCompile(pattern), time.After(20*time.Second)
	for {
		l.mu.Lock()
		n, more := len(re.FindAll(l.text.Bytes(), -1)), l.more
		l.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("got %q %d times, want %d, in:\n%s", pattern, n, times, l)
		}
	}
}

func (r *running) write(name, text string) {
	r.t.Helper()
	// As editors do, so that no half is read.
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path+".tmp", []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		r.t.Fatal(err)
	}
}

// start runs a control plane over dir until the test ends or stop is called.
func start(t *testing.T, dir string, change func(*Options)) *running {
	t.Helper()
	r := &running{t: t, dir: dir, log: &lines{more: make(chan struct{})}}
	ready := make(chan struct{})
	opts := Options{
		Paths: []string{dir}, Listen: "127.0.0.1:0", ListenOps: "127.0.0.1:0", HoldOff: 5 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Ready: func(xds, ops net.Addr) {
			r.xds, r.ops = xds.String(), ops.String()
			close(ready)
		},
	}
	if change != nil {
		change(&opts)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, opts) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: got %v, want nil", err)
			}
		})
	}
	t.Cleanup(r.stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the control plane's log:\n%s", r.log)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("Run: %v", err)
	}
	return r
}

func (r *running) dial() *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient(r.xds, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

func (r *running) stream(fleet string) *xdstest.Stream {
	return xdstest.Open(r.t, context.Background(), r.dial(), fleet, true)
}

func (r *running) get(path string) (int, string) {
	r.t.Helper()
	response, err := http.Get("http://" + r.ops + path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

const gateway = `kind: Gateway
name: web
fleet: edge
listeners: [{name: http, address: 127.0.0.1, port: 8080, protocol: HTTP}]
---
kind: Route
name: shop
gateways: [web]
hosts: [shop.example.com]
rules: [{backends: [{service: api}]}]
`

func service(extra string) string {
	return "{kind: Service, name: api, endpoints: [127.0.0.1:1]" + extra + "}\n"
}

// subscribeAll plays a proxy's first exchanges.
func subscribeAll(s *xdstest.Stream) {
	s.Subscribe(resource.ClusterType)
	s.ExpectAck("CDS api")
	s.Subscribe(resource.EndpointType, "api")
	s.ExpectAck("EDS api")
	s.Subscribe(resource.ListenerType)
	s.ExpectAck("LDS 127.0.0.1:8080")
	s.Subscribe(resource.RouteType, "web/http")
	s.ExpectAck("RDS web/http")
	s.Subscribe(resource.VirtualHostType)
	s.ExpectAck("VHDS web/http/shop.example.com")
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, func(o *Options) {
		o.Explain = func(served *compile.Output, request *adminv1.ExplainRequest) ([]byte, error) {
			return fmt.Appendf(nil, "%d %s", len(served.Fleets), request.GetUrl()), nil
		}
	})
	// Nothing is there, so nothing is served, and nothing is taken from proxies that run (rule 15).
	if code, _ := r.get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz without documents: got %d, want 503", code)
	}
	if code, _ := r.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz: got %d, want 200", code)
	}
	s := r.stream("edge")
	s.Subscribe(resource.ClusterType)
	r.write("web.yaml", gateway)
	r.write("api.yaml", service(""))
	s.ExpectAck("CDS api")
	s.Subscribe(resource.EndpointType, "api")
	s.ExpectAck("EDS api")
	s.Subscribe(resource.ListenerType)
	s.ExpectAck("LDS 127.0.0.1:8080")
	s.Subscribe(resource.RouteType, "web/http")
	s.ExpectAck("RDS web/http")
	s.Subscribe(resource.VirtualHostType)
	s.ExpectAck("VHDS web/http/shop.example.com")
	if code, _ := r.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: got %d, want 200", code)
	}
	admin := adminv1.NewAdminServiceClient(r.dial())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	waited, err := admin.Wait(ctx, &adminv1.WaitRequest{Fleet: "edge"})
	if err != nil || len(waited.GetProxies()) != 1 || waited.GetProxies()[0].GetId() != "test" {
		t.Fatalf("wait: got %v, %v, want the proxy", waited, err)
	}
	if e, err := admin.Explain(ctx, &adminv1.ExplainRequest{Url: "http://x/"}); err != nil || string(e.GetJson()) != "1 http://x/" {
		t.Errorf("explain: got %s, %v", e.GetJson(), err)
	}

	// An edit of the connect timeout alone: the cluster, and its endpoints again (rule 13).
	r.write("api.yaml", service(", connectTimeout: 2s"))
	s.ExpectAck("CDS api")
	s.ExpectAck("EDS api")
	// A comment above everything pushes nothing.
	r.write("web.yaml", "# a comment\n\n"+gateway)
	r.write("api.yaml", "# another\n"+service(", connectTimeout: 2s"))
	s.Silent(resource.ClusterType)

	// A bad document is held back alone, and another edit goes through.
	r.write("api.yaml", service(", colour: red"))
	r.log.wait(t, `msg=problem .*SL0107`, 1)
	r.write("web.yaml", strings.Replace(gateway, "hosts: [shop.example.com]", "hosts: [shop.example.com, b.example.com]", 1))
	s.ExpectAck("VHDS web/http/b.example.com")
	status, err := admin.Status(ctx, &adminv1.StatusRequest{})
	if err != nil || len(status.GetProblems()) != 1 || status.GetProblems()[0].GetServing() != "last good version" ||
		status.GetProblems()[0].GetDocument() != "Service/api" || status.GetProblems()[0].GetLine() != 1 {
		t.Errorf("status: got %v, %v, want the one problem", status, err)
	}
	r.write("api.yaml", service(", connectTimeout: 3s"))
	s.ExpectAck("CDS api")
	s.ExpectAck("EDS api")
	r.log.wait(t, `msg="problem gone" .*SL0107`, 1)

	// A rejection is told in the proxy's words, twice; then the document is held back, and the last good version goes on.
	r.write("api.yaml", service(", connectTimeout: 4s"))
	s.Nack(s.Expect("CDS api"), "no such time")
	r.log.wait(t, `msg="proxy refused" .*no such time`, 1)
	s.ExpectAck("EDS api")
	s.ExpectAck("CDS api")
	s.ExpectAck("EDS api")
	s.Nack(s.Expect("CDS api"), "no such time")
	r.log.wait(t, `msg=problem .*SL0701.*no such time`, 1)
	s.ExpectAck("EDS api")
	s.ExpectAck("CDS api")
	s.ExpectAck("EDS api")
	s.Silent(resource.ClusterType)
	status, err = admin.Status(ctx, &adminv1.StatusRequest{Fleet: "edge"})
	if err != nil || len(status.GetProblems()) != 1 || status.GetProblems()[0].GetCode() != "SL0701" || status.GetProblems()[0].GetServing() != "last good version" ||
		!strings.Contains(status.GetProblems()[0].GetMessage(), "no such time") || status.GetProxies()[0].GetTypes()[0].GetState() != adminv1.TypeStatus_SYNCED {
		t.Errorf("status: got %v, %v, want the document, and the text", status, err)
	}

	if code, text := r.get("/metrics"); code != 200 || !strings.Contains(text, `sluice_controlplane_connected_proxies{fleet="edge"} 1`) ||
		!strings.Contains(text, `sluice_controlplane_nacks_total{type="CDS"} 2`) || !strings.Contains(text, `sluice_controlplane_documents{kind="Service"} 1`) ||
		!regexp.MustCompile(`sluice_controlplane_convergence_duration_seconds_count{type="CDS"} [1-9]`).MatchString(text) ||
		!regexp.MustCompile(`sluice_controlplane_queue_duration_seconds_count{type="CDS"} [1-9]`).MatchString(text) ||
		!regexp.MustCompile(`sluice_controlplane_sent_bytes_total{type="CDS"} [1-9]`).MatchString(text) {
		t.Errorf("/metrics: got %d\n%s", code, text)
	}
	if code, _ := r.get("/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("pprof: got %d, want 404", code)
	}

	// All documents at once: kept.
	for _, name := range []string{"web.yaml", "api.yaml"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.log.wait(t, `all documents are gone at once|deleted, but`, 1)
	s.Close()
}

func TestRestart(t *testing.T) {
	dir, state := t.TempDir(), t.TempDir()
	change := func(o *Options) { o.StateDir = state }
	first := &running{t: t, dir: dir}
	first.write("web.yaml", gateway)
	first.write("api.yaml", service(""))
	r := start(t, dir, change)
	s := r.stream("edge")
	subscribeAll(s)
	r.stop()
	s.Ended()
	// It comes back with a bad document in the folder.
	first.write("api.yaml", service(", colour: red"))
	r = start(t, dir, change)
	subscribeAll(r.stream("edge"))
	if log := r.log.String(); !strings.Contains(log, "SL0107") || !strings.Contains(log, `serving="last good version"`) {
		t.Errorf("got log\n%s\nwant the problem, and that the last good version is served", log)
	}
	r.stop()
	// And with nothing at all.
	for _, name := range []string{"web.yaml", "api.yaml"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	r = start(t, dir, change)
	subscribeAll(r.stream("edge"))
}

func TestRefusals(t *testing.T) {
	wide, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer wide.Close()
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		opts       Options
	}{
		{"plaintext for all", "private keys", Options{Listener: wide}},
		{"TLS without a client CA", "private keys", Options{Listen: "0.0.0.0:0", Identity: entrance.Options{TLS: identity.Files{Certificate: "a", Key: "b"}}}},
		{"a certificate that is not there", "no such file", Options{Listen: "127.0.0.1:0", Identity: entrance.Options{TLS: identity.Files{Certificate: "/nope", Key: "/nope", ClientCA: "/nope"}}}},
		{"a certificate without its key", "want both", Options{Listen: "127.0.0.1:0", Identity: entrance.Options{TLS: identity.Files{Certificate: "a"}}}},
		{"an authority without a state folder", "want a state folder", Options{Listen: "127.0.0.1:0", Identity: entrance.Options{Authority: authority.Options{TrustDomain: "a"}}}},
		{"two authorities", "the one or the others", Options{Listen: "127.0.0.1:0", StateDir: t.TempDir(), Identity: entrance.Options{
			TLS: identity.Files{Certificate: "a"}, Authority: authority.Options{TrustDomain: "a"},
		}}},
		{"a token file that is not there", "no such file", Options{Listen: "127.0.0.1:0", Identity: entrance.Options{AdminToken: "/nope"}}},
		{"a bad address", "control plane: listen", Options{Listen: "nowhere"}},
		{"a state folder that is a file", "not a directory", Options{Listen: "127.0.0.1:0", StateDir: filepath.Join(state, "file")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Run(context.Background(), c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
