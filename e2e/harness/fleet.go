package harness

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ControlPlane is `sluice controlplane` on loopback.
type ControlPlane struct {
	*Process
	// Addr is where xDS and the API are, Ops where health and metrics are.
	Addr, Ops string
	// Dir holds the definitions, State what is kept.
	Dir, State string

	tb   testing.TB
	args []string
}

// StartControlPlane starts it over a folder, and waits until it is ready to serve.
func StartControlPlane(tb testing.TB, dir string, args ...string) *ControlPlane {
	tb.Helper()
	c := NewControlPlane(tb, dir, args...)
	c.Launch()
	c.WaitReady()
	return c
}

// NewControlPlane chooses its addresses; Launch starts it.
func NewControlPlane(tb testing.TB, dir string, args ...string) *ControlPlane {
	tb.Helper()
	return &ControlPlane{Addr: Loopback(tb), Ops: Loopback(tb), Dir: dir, State: tb.TempDir(), tb: tb, args: args}
}

// Launch starts it (again, after Stop or Kill) at the same addresses and with the same state, without waiting.
func (c *ControlPlane) Launch() {
	c.tb.Helper()
	args := append([]string{
		"controlplane", "-f", c.Dir, "--listen", c.Addr, "--listen-ops", c.Ops, "--state", c.State,
	}, c.args...)
	c.Process = Start(c.tb, "controlplane", filepath.Join(Binaries(c.tb), "sluice"), args...)
}

// WaitReady waits until it has built its first snapshots.
func (c *ControlPlane) WaitReady() {
	c.tb.Helper()
	Eventually(c.tb, c.Process, "controlplane ready", func() error { return get200("http://" + c.Ops + "/readyz") })
}

// Sluice runs a sluice command against it, and returns its standard output; it must end with 0.
func (c *ControlPlane) Sluice(args ...string) string {
	c.tb.Helper()
	return MustRun(c.tb, filepath.Join(Binaries(c.tb), "sluice"), append(args, "--server", c.Addr)...)
}

// WaitSynced waits until a number of proxies of a fleet have accepted the newest.
func (c *ControlPlane) WaitSynced(fleet string, proxies int) {
	c.tb.Helper()
	c.Sluice("wait", "--fleet", fleet, "--at-least", strconv.Itoa(proxies), "--timeout", Patience.String())
}

// The kinds of proxy.
const (
	Go    = "sluice-proxy"
	Envoy = "envoy"
)

// Kinds are both, for tests that run on each.
var Kinds = []string{Go, Envoy}

// Proxy is a proxy of either kind.
type Proxy struct {
	*Process
	Kind string
	// Admin is the address of its admin server.
	Admin string
	// Bootstrap is its file.
	Bootstrap string

	tb testing.TB
}

// StartProxy starts a proxy of a kind with a bootstrap made by `sluice bootstrap` for a control plane's address (which
// need not listen yet). More arguments go to `sluice bootstrap`.
func StartProxy(tb testing.TB, kind, server, fleet, id string, args ...string) *Proxy {
	tb.Helper()
	bootstrap, admin := NewBootstrap(tb, server, fleet, id, args...)
	return StartProxyFrom(tb, kind, bootstrap, admin)
}

// NewBootstrap is the file that `sluice bootstrap` makes for a control plane's address, and the admin address in it.
func NewBootstrap(tb testing.TB, server, fleet, id string, args ...string) (bootstrap, admin string) {
	tb.Helper()
	admin = Loopback(tb)
	bootstrap = filepath.Join(tb.TempDir(), "bootstrap.yaml")
	text := MustRun(tb, filepath.Join(Binaries(tb), "sluice"), append([]string{
		"bootstrap", "--server", server, "--fleet", fleet, "--id", id, "--admin", admin,
	}, args...)...)
	if err := os.WriteFile(bootstrap, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return bootstrap, admin
}

// StartProxyFrom starts a proxy of a kind with a bootstrap file, whose admin address is told too, and more arguments.
func StartProxyFrom(tb testing.TB, kind, bootstrap, admin string, args ...string) *Proxy {
	tb.Helper()
	p := &Proxy{Kind: kind, Admin: admin, Bootstrap: bootstrap, tb: tb}
	switch kind {
	case Envoy:
		if !slices.Contains(args, "--drain-time-s") { // Envoy takes no flag twice
			args = append(args, "--drain-time-s", "1")
		}
		p.Process = Start(tb, kind, EnvoyBinary(tb), append([]string{"-c", bootstrap, "--disable-hot-restart",
			"--concurrency", "1", "-l", "warn"}, args...)...)
	case Go:
		p.Process = Start(tb, kind, filepath.Join(Binaries(tb), "sluice-proxy"),
			append([]string{"-c", bootstrap, "--drain-time-s", "10"}, args...)...)
	default:
		tb.Fatalf("harness: no proxy is called %q", kind)
	}
	return p
}

// WaitReady waits until it has its configuration and listens.
func (p *Proxy) WaitReady() {
	p.tb.Helper()
	Eventually(p.tb, p.Process, p.Kind+" ready", func() error { return get200("http://" + p.Admin + "/ready") })
}

// AdminGet reads a page of its admin server.
func (p *Proxy) AdminGet(path string) string {
	p.tb.Helper()
	text, err := Get("http://" + p.Admin + path)
	if err != nil {
		p.tb.Fatalf("%s: %v", p.Kind, err)
	}
	return text
}

// Updates is how many responses of a type (CDS, EDS, SDS, LDS, RDS) it has taken, refused ones too. Envoy does not count
// those of SDS in one place.
func (p *Proxy) Updates(short string) int {
	p.tb.Helper()
	pattern := `sluice_xds_(?:updates|rejects)_total\{type="` + short + `"\}`
	if p.Kind == Envoy {
		pattern = map[string]string{
			"CDS":  `envoy_cluster_manager_cds_update_(?:success|rejected)\{\}`,
			"EDS":  `envoy_cluster_update_(?:success|rejected)\{.*\}`,
			"SDS":  `envoy_(?:\w+_)?sds_\w*update_(?:success|rejected)\{.*\}`,
			"LDS":  `envoy_listener_manager_lds_update_(?:success|rejected)\{\}`,
			"RDS":  `envoy_http_rds_update_(?:success|rejected)\{.*\}`, // VHDS's are among them
			"VHDS": `envoy_http_rds_update_(?:success|rejected)\{.*envoy_rds_route_config="vhds\..*\}`,
		}[short]
		if short == "RDS" {
			return int(Sum(p.tb, p.AdminGet("/stats/prometheus"), pattern)) - p.Updates("VHDS")
		}
	}
	return int(Sum(p.tb, p.AdminGet("/stats/prometheus"), pattern))
}

// AllUpdates is Updates by type.
func (p *Proxy) AllUpdates() map[string]int {
	p.tb.Helper()
	all := map[string]int{}
	for _, short := range []string{"CDS", "EDS", "SDS", "LDS", "RDS", "VHDS"} {
		all[short] = p.Updates(short)
	}
	return all
}

// Builds is how many builds the control plane has made.
func (c *ControlPlane) Builds() int {
	c.tb.Helper()
	text, err := Get("http://" + c.Ops + "/metrics")
	if err != nil {
		c.tb.Fatal(err)
	}
	return int(Sum(c.tb, text, `sluice_controlplane_builds_total\{.*\}`))
}

// Sum adds up the samples of a Prometheus page whose name and labels match a pattern.
func Sum(tb testing.TB, text, pattern string) float64 {
	tb.Helper()
	total := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+pattern+` ([0-9.e+-]+)$`).FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[len(m)-1], 64)
		if err != nil {
			tb.Fatal(err)
		}
		total += v
	}
	return total
}

var adminClient = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Get reads a page; another status than 200 is an error.
func Get(url string) (string, error) {
	resp, err := adminClient.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: status %d: %s", url, resp.StatusCode, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

func get200(url string) error {
	_, err := Get(url)
	return err
}
