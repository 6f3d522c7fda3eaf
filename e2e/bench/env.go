package bench

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/origin"
	"github.com/sluice-proxy/sluice/e2e/bench/usage"
	"github.com/sluice-proxy/sluice/e2e/harness"
)

// The hosts that every proxy serves, by HTTP and HTTPS; the certificate is for the first.
const (
	Host     = "bench.test"        // to the origin's HTTP/1.1
	HostH2   = "h2.bench.test"     // to its HTTP/2
	HostGRPC = "grpc.bench.test"   // to its gRPC
	HostMany = "routes.bench.test" // with many routes, all to HTTP/1.1
)

// Site is what a proxy serves beyond the hosts: proxies are started for each that a row wants.
type Site struct {
	// Log: the access log goes to a file. Else there is none.
	Log bool
	// Routes is how many prefixes HostMany has: /r/0 to /r/(Routes-1). 0 is no such host.
	Routes int
	// Hosts is how many more hosts there are, each with prefixesOfHost prefixes.
	Hosts int
}

// Env is what all rows share: the origin, the certificate, the proxies that run.
type Env struct {
	t      *testing.T
	origin origin.Addresses
	// dir holds cert.pem, key.pem and both.pem.
	dir     string
	cpus    CPUs
	running map[string]*Proxy
	rows    []Row
}

// CPUs say who is pinned where. The driver, which makes the load, shares its CPU with the control planes.
type CPUs struct{ Proxy, Load, Origin int }

// NewEnv starts the origin.
func NewEnv(t *testing.T, cpus CPUs) *Env {
	t.Helper()
	e := &Env{t: t, dir: t.TempDir(), cpus: cpus, running: map[string]*Proxy{}, rows: Rows()}
	certificate, key := harness.SelfSigned(t, Host)
	for name, text := range map[string]string{"cert.pem": certificate, "key.pem": key, "both.pem": certificate + key} {
		e.write(t, e.dir, name, text)
	}
	for _, addr := range []*string{&e.origin.HTTP1, &e.origin.HTTP2, &e.origin.GRPC, &e.origin.Echo} {
		*addr = harness.Loopback(t)
	}
	p := harness.Start(t, "origin", "env", append([]string{"SLUICE_BENCH_ROLE=origin"}, append([]string{os.Args[0]},
		e.origin.HTTP1, e.origin.HTTP2, e.origin.GRPC, e.origin.Echo)...)...)
	harness.Eventually(t, p, "origin", func() error { return listens(e.origin.Echo) })
	if err := usage.Pin(p.PID(), cpus.Origin); err != nil {
		t.Fatal(err)
	}
	return e
}

func listens(addr string) error {
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// write writes a file, and returns its path.
func (e *Env) write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Proxy is a proxy that runs.
type Proxy struct {
	Name string
	Site Site
	// HTTP, HTTPS and TCP are where it listens.
	HTTP, HTTPS, TCP string
	// Admin is the admin server of ours and of Envoy.
	Admin string
	// Origin is what is behind it.
	Origin origin.Addresses

	process *harness.Process
	cpu     int
	// others end with it.
	others []func()
	// launched is when its program was started, served when it first answered.
	launched, served time.Time
	// versus is the same peer with another site, for rows that compare the two.
	versus *Proxy
	// rate is the row's, in requests/s.
	rate float64
	// edits is how often edit was called.
	edits int
	// edit changes its configuration and makes it take the change, for the n-th time: the host edit-N.test comes. It is nil
	// if the peer is not edited.
	edit func(n int) error
}

// Pid is its process; workers are that one's children.
func (p *Proxy) PID() int { return p.process.PID() }

// Pin puts all its threads on its CPU.
func (p *Proxy) Pin() error { return usage.Pin(p.PID(), p.cpu) }

// Stop ends it, and what was started for it.
func (p *Proxy) Stop() {
	p.process.Stop()
	for _, stop := range p.others {
		stop()
	}
}

// proxy is a peer for a site: one that runs, or a new one, which runs until the end of all rows.
func (e *Env) proxy(t *testing.T, name string, site Site) *Proxy {
	t.Helper()
	key := fmt.Sprint(name, site)
	if e.running[key] == nil {
		e.running[key] = e.start(e.t, name, site)
	}
	return e.running[key]
}

// start starts a peer, and waits until it answers.
func (e *Env) start(t *testing.T, name string, site Site) *Proxy {
	t.Helper()
	p := e.launch(t, name, site)
	eventually(t, p.process, name+" serves", func() error {
		err := p.check(Host, "/", 128)
		if err == nil && site.Routes > 0 {
			err = p.check(HostMany, lastRoute(site.Routes), 128)
		}
		if err == nil && site.Hosts > 0 {
			err = p.check(host(site.Hosts-1), lastRoute(prefixesOfHost), 128)
		}
		return err
	})
	p.served = time.Now()
	if err := p.Pin(); err != nil {
		t.Fatal(err)
	}
	return p
}

// patience is for starts: 100,000 routes take long to compile.
const patience = 3 * time.Minute

// eventually is harness.Eventually with more patience.
func eventually(t *testing.T, p *harness.Process, what string, ask func() error) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-p.Done():
			t.Fatalf("%s: it ended: %v", what, err)
		default:
		}
		if time.Since(begin) > patience {
			t.Fatalf("%s: not within %v: %v", what, patience, err)
		}
	}
}

// exec starts its program, on its CPU from the start.
func (p *Proxy) exec(t *testing.T, binary string, args ...string) {
	t.Helper()
	p.launched = time.Now()
	p.process = harness.Start(t, p.Name, binary, args...)
	if err := p.Pin(); err != nil {
		t.Fatal(err)
	}
}

// launch starts a peer without waiting.
func (e *Env) launch(t *testing.T, name string, site Site) *Proxy {
	t.Helper()
	p := &Proxy{
		Name: name, Site: site, Origin: e.origin, cpu: e.cpus.Proxy,
		HTTP: harness.Loopback(t), HTTPS: harness.Loopback(t), TCP: harness.Loopback(t),
	}
	peers[name].launch(e, t, p)
	return p
}

func route(i int) string { return "/r/" + strconv.Itoa(i) }

// prefixesOfHost is how many each of Site.Hosts has.
const prefixesOfHost = 10

func host(i int) string { return "host-" + strconv.Itoa(i) + ".many.bench.test" }

func lastRoute(routes int) string { return route(routes-1) + "/x" }

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }
