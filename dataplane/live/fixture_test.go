package live

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRuntime is drained when the test ends.
func newRuntime(t *testing.T) *Runtime {
	t.Helper()
	out := io.Discard
	if testing.Verbose() {
		out = os.Stderr
	}
	return newRuntimeWith(t, Options{DrainTime: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(out, nil))})
}

func newRuntimeWith(t *testing.T, options Options) *Runtime {
	t.Helper()
	r := New(options)
	r.idleGrace = 50 * time.Millisecond
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		r.Drain(ctx)
	})
	return r
}

// origin answers with its name and what it saw.
func origin(t *testing.T, name string) config.Endpoint {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := r.URL.Query().Get("wait"); wait != "" {
			d, _ := time.ParseDuration(wait)
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", name, r.Method, r.URL.Path, body)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return config.Endpoint{Address: config.At(netip.MustParseAddrPort(s.Listener.Addr().String())), Weight: 1}
}

// makeConfig is a configuration of clusters with one endpoint each.
func makeConfig(clusters map[string]config.Endpoint) *config.Config {
	c := &config.Config{
		Listeners: map[string]*config.Listener{}, RouteTables: map[string]*config.RouteTable{},
		Clusters: map[string]*config.Cluster{}, Assignments: map[string]*config.Assignment{},
		Certificates: map[string]*config.Certificate{},
	}
	for name, endpoint := range clusters {
		c.Clusters[name] = &config.Cluster{Name: name, Static: []config.Endpoint{endpoint}, ConnectTimeout: time.Second,
			MaxConnections: 1024, MaxPending: 1024, MaxRequests: 1024}
	}
	return c
}

// table sends everything to one cluster.
func table(name, cluster string) *config.RouteTable {
	return &config.RouteTable{Name: name, Hosts: []*config.VirtualHost{{Name: "all", Domains: []string{"*"},
		Routes: []*config.Route{{Name: "rule", Match: config.Match{Path: "/"},
			Clusters: []config.WeightedCluster{{Name: cluster, Weight: 1}}}}}}}
}

// httpChain is a filter chain for names, with its certificate by SDS; plaintext without names.
func httpChain(name, routes string, names ...string) *config.FilterChain {
	c := &config.FilterChain{Name: name, HTTP: &config.HTTP{
		RouteTableName: routes, IdleTimeout: time.Minute, MaxHeaderBytes: 60 << 10, MaxHeaderCount: 100,
		MaxConcurrentStreams: 100, InitialStreamWindow: 1 << 20, InitialConnectionWindow: 1 << 20,
		SuppressEnvoyHeaders: true,
	}}
	if len(names) > 0 {
		c.Match = config.ChainMatch{ServerNames: names, TransportProtocol: "tls"}
		c.TLS = &config.DownstreamTLS{CertificateNames: []string{name}, ALPN: []string{"h2", "http/1.1"}}
	}
	return c
}

// on is a listener of the chains at an address.
func on(name, address string, chains ...*config.FilterChain) *config.Listener {
	l := &config.Listener{Name: name, Address: netip.MustParseAddrPort(address), ReusePort: false}
	for _, c := range chains {
		l.InspectTLS = l.InspectTLS || c.TLS != nil
		l.Chains = append(l.Chains, c)
	}
	return l
}

// freePort is an address that nobody has at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func selfSigned(t *testing.T, name string, hosts ...string) *config.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		DNSNames: hosts, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &config.Certificate{Name: name, Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})}
}

func apply(t *testing.T, r *Runtime, c *config.Config) {
	t.Helper()
	if err := r.Apply(c); err != nil {
		t.Fatal(err)
	}
}

// address is what a listener has bound.
func (r *Runtime) addressOf(t *testing.T, name string) string {
	t.Helper()
	for _, l := range r.View().Listeners {
		if l.Name == name {
			return l.Address.String()
		}
	}
	t.Fatalf("no listener %q", name)
	return ""
}

// client is an HTTP client of its own connections, which go to one address whatever the host.
type client struct {
	*http.Client
	transport *http.Transport
	scheme    string
}

func newClient(t *testing.T, address, scheme string, protocols ...string) *client {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		Protocols:       new(http.Protocols),
	}
	for _, p := range protocols {
		switch p {
		case "h2":
			transport.Protocols.SetHTTP2(true)
		case "h2c":
			transport.Protocols.SetUnencryptedHTTP2(true)
		case "http/1.1":
			transport.Protocols.SetHTTP1(true)
		}
	}
	c := &client{Client: &http.Client{Transport: transport, Timeout: 10 * time.Second}, transport: transport, scheme: scheme}
	t.Cleanup(transport.CloseIdleConnections)
	return c
}

// get is an answer's protocol, status and body.
func (c *client) get(host, path string) (string, error) {
	res, err := c.Get(c.scheme + "://" + host + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return strings.TrimSpace(fmt.Sprintf("%s %d %s", res.Proto, res.StatusCode, body)), err
}

func (c *client) want(t *testing.T, host, path, want string) {
	t.Helper()
	got, err := c.get(host, path)
	if err != nil || got != want {
		t.Fatalf("%s%s: got %q, %v, want %q", host, path, got, err, want)
	}
}

// total is the number of connections that a listener has accepted.
func (r *Runtime) total(t *testing.T, name string) int64 {
	t.Helper()
	for _, l := range r.View().Listeners {
		if l.Name == name {
			return l.ConnectionsTotal
		}
	}
	t.Fatalf("no listener %q", name)
	return 0
}

func wantConnections(t *testing.T, r *Runtime, name string, want int64) {
	t.Helper()
	if got := r.total(t, name); got != want {
		t.Fatalf("%d connections were accepted, want %d", got, want)
	}
}
