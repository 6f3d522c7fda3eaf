package live

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// deaf is an endpoint that nobody serves: its port is held, so that no one else listens on it, but not listened on.
func deaf(t *testing.T) config.Endpoint {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := at.(*syscall.SockaddrInet4).Port
	return config.Endpoint{Address: config.At(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))), Weight: 1}
}

func asked(interval time.Duration) *config.HealthCheck {
	return &config.HealthCheck{
		Kind: config.CheckTCP, Timeout: time.Second, Interval: interval, UnhealthyInterval: interval, HealthyEdgeInterval: interval,
		UnhealthyEdgeInterval: interval, NoTrafficInterval: interval, NoTrafficHealthyInterval: interval, HealthyThreshold: 1, UnhealthyThreshold: 1,
	}
}

// Who has health checks serves when they have been made; without them, all are used again.
func TestHealthChecks(t *testing.T) {
	r := newRuntime(t)
	alive, dead := origin(t, "alive"), deaf(t)
	with := func(h *config.HealthCheck, endpoints ...config.Endpoint) *config.Config {
		c := makeConfig(map[string]config.Endpoint{"a": alive})
		c.Clusters["a"].Static, c.Clusters["a"].HealthCheck = endpoints, h
		c.RouteTables["routes"] = table("routes", "a")
		c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("chain", "routes"))
		return c
	}
	apply(t, r, with(asked(time.Hour), dead, alive, dead))
	client := newClient(t, r.addressOf(t, "web"), "http")
	for range 6 {
		client.want(t, "x", "/", "HTTP/1.1 200 alive GET /")
	}
	if got := r.View().Clusters[0].Stats.ConnectionsTotal.Load(); got != 1 {
		t.Errorf("got %d connections counted, want the request's alone", got)
	}
	// The same endpoints: nobody is new, so nobody is asked or waited for.
	before := r.View().Clusters[0].Stats.Checks.Load()
	c := with(asked(time.Hour), dead, alive)
	apply(t, r, c)
	if got := r.View().Clusters[0].Stats.Checks.Load(); got != before {
		t.Errorf("got %d checks more, want none", got-before)
	}
	client.want(t, "x", "/", "HTTP/1.1 200 alive GET /")
	// All others, at once: they have been asked before they serve.
	other := origin(t, "other")
	apply(t, r, with(asked(time.Hour), other))
	client.want(t, "x", "/", "HTTP/1.1 200 other GET /")
	// Nobody asks any more: who was ill is used.
	apply(t, r, with(asked(time.Hour), dead))
	client.want(t, "x", "/", "HTTP/1.1 503 no healthy upstream")
	apply(t, r, with(nil, dead))
	if e := r.View().Clusters[0].Pick(); e == nil {
		t.Error("got nobody, want the one that was ill: nobody asks any more")
	}
}

// An endpoint that takes connections and says nothing holds up no edit for longer than the time for first checks.
func TestFirstChecksAreBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := newRuntime(t)
	silent := config.Endpoint{Address: config.At(netip.MustParseAddrPort(l.Addr().String())), Weight: 1}
	c := makeConfig(map[string]config.Endpoint{"a": silent})
	h := asked(time.Hour)
	h.Kind, h.Method, h.Path, h.Host, h.Timeout = config.CheckHTTP, "GET", "/", "a", time.Hour
	c.Clusters["a"].HealthCheck = h
	apply(t, r, c)
	if e := r.View().Clusters[0].Pick(); e != nil {
		t.Errorf("got %s, which has not answered", e.Address)
	}
}

// Ejections live on in edits that do not concern them, and end with the detection.
func TestEjectionsThroughEdits(t *testing.T) {
	r := newRuntime(t)
	one := origin(t, "one")
	with := func(timeout time.Duration, o *config.Outliers) *config.Config {
		c := makeConfig(map[string]config.Endpoint{"a": one})
		c.Clusters["a"].ConnectTimeout, c.Clusters["a"].Outliers = timeout, o
		return c
	}
	o := &config.Outliers{Consecutive5xx: 1, Enforcing5xx: 100, Interval: time.Hour, BaseTime: time.Hour, MaxTime: time.Hour, MaxPercent: 100}
	apply(t, r, with(time.Second, o))
	v := r.View().Clusters[0]
	v.Note(v.Endpoints[0], 500)
	for v.Pick() != nil {
		time.Sleep(time.Millisecond)
	}
	apply(t, r, with(2*time.Second, o))
	if r.View().Clusters[0].Pick() != nil {
		t.Error("got an endpoint that was ejected before the edit")
	}
	apply(t, r, with(2*time.Second, nil))
	if r.View().Clusters[0].Pick() == nil {
		t.Error("got nobody, want all: nothing is detected any more")
	}
}
