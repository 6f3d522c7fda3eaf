package join_test

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/identity"
	"github.com/sluice-proxy/sluice/controlplane/identity/authority"
	"github.com/sluice-proxy/sluice/controlplane/identity/join"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plane is a control plane that only gives certificates.
type plane struct {
	t         *testing.T
	dir       string // the authority's
	authority *authority.Authority
	service   *authority.Service
	address   string
}

func start(t *testing.T, names ...string) *plane {
	t.Helper()
	return startIn(t, t.TempDir(), names...)
}

func startIn(t *testing.T, dir string, names ...string) *plane {
	t.Helper()
	p := &plane{t: t, dir: dir}
	var err error
	p.authority, err = authority.Open(authority.Options{
		Dir: dir, TrustDomain: "example.org", Names: names, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	guard := &identity.Guard{Mutual: true, TrustDomain: "example.org"}
	p.service = authority.NewService(p.authority, guard.Proxy)
	p.address = serve(t, identity.AuthorityConfig(p.authority), p.service)
	return p
}

func serve(t *testing.T, config *tls.Config, service adminv1.IdentityServiceServer) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	adminv1.RegisterIdentityServiceServer(s, service)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(listener) }()
	t.Cleanup(func() { s.Stop(); <-ended })
	return listener.Addr().String()
}

func (p *plane) token() string {
	p.t.Helper()
	response, err := p.service.CreateToken(p.t.Context(), &adminv1.CreateTokenRequest{Fleet: "edge"})
	if err != nil {
		p.t.Fatal(err)
	}
	return response.GetToken()
}

func (p *plane) options(dir string) join.Options {
	return join.Options{Token: p.token(), Dir: dir, Bootstrap: bootstrap.Options{Server: p.address, ID: "one"}}
}

func TestEnrollAndRenew(t *testing.T) {
	p := start(t, "127.0.0.1")
	dir := filepath.Join(t.TempDir(), "a", "b")
	got, err := join.Enroll(t.Context(), p.options(dir))
	if err != nil {
		t.Fatal(err)
	}
	if got.Fleet != "edge" || got.ID != "one" {
		t.Errorf("got %+v", got)
	}
	if left := time.Until(got.Renew); left < 10*time.Hour || left > 14*time.Hour {
		t.Errorf("renewal: got in %v, want in about half a day", left)
	}
	text, err := os.ReadFile(filepath.Join(dir, join.BootstrapFile))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bootstrap.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	serials := map[string]bool{}
	shown := func() string { // what the proxy would show
		t.Helper()
		config, err := b.ADS.Target.TLS()
		if err != nil {
			t.Fatal(err)
		}
		return string(config.Certificates[0].Certificate[0])
	}
	serials[shown()] = true
	if _, done, err := join.Renew(t.Context(), dir, false); done || err != nil {
		t.Errorf("before it is time: got %v, %v", done, err)
	}
	for range 3 {
		now, done, err := join.Renew(t.Context(), dir, true)
		if !done || err != nil || now.ID != "one" {
			t.Fatalf("got %v, %v, %v", now, done, err)
		}
		serials[shown()] = true
	}
	if len(serials) != 4 {
		t.Errorf("got %d certificates, want 4", len(serials))
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("got %v, want three files and nothing half-written: %v", files, err)
	}
}

// tokenThief takes down what it is sent.
type tokenThief struct {
	adminv1.UnimplementedIdentityServiceServer
}

// TestPinned: whoever stands in the control plane's place without its key is found out before the token is sent.
func TestPinned(t *testing.T) {
	p, other := start(t, "127.0.0.1"), start(t, "127.0.0.1")
	theirs, err := other.authority.ServerCertificate()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := p.authority.ServerCertificate()
	if err != nil {
		t.Fatal(err)
	}
	// A certificate of another authority with the wanted root behind it: it is public, so anybody can show it.
	mixed := tls.Certificate{Certificate: [][]byte{theirs.Certificate[0], ours.Certificate[1], theirs.Certificate[1]}, PrivateKey: theirs.PrivateKey}
	elsewhere := start(t, "cp.example.org")
	for want, o := range map[string]join.Options{
		"is not of the authority that the join token names": {Token: p.token(), Bootstrap: bootstrap.Options{Server: other.address}},
		"unknown authority": {Token: p.token(), Bootstrap: bootstrap.Options{
			Server: serve(t, &tls.Config{Certificates: []tls.Certificate{mixed}, NextProtos: []string{"h2"}}, tokenThief{}),
		}},
		"cannot validate certificate for 127.0.0.1": {Token: elsewhere.token(), Bootstrap: bootstrap.Options{Server: elsewhere.address}},
	} {
		o.Dir, o.Bootstrap.ID = t.TempDir(), "one"
		_, err := join.Enroll(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), o.Token) {
			t.Errorf("the error tells the token: %v", err)
		}
	}
}

func TestEnrollRefuses(t *testing.T) {
	p, n := start(t, "127.0.0.1"), 0
	for want, change := range map[string]func(*join.Options){
		"want a join token":                 func(o *join.Options) { o.Token = "x" },
		`server: got "x", want host:port`:   func(o *join.Options) { o.Bootstrap.Server = "x" },
		"not a directory":                   func(o *join.Options) { o.Dir = file(t) },
		`fleet: got "core", want edge`:      func(o *join.Options) { o.Bootstrap.Fleet = "core" },
		"id: got none, want one":            func(o *join.Options) { o.Bootstrap.ID = "" },
		"got files of secrets and a CA":     func(o *join.Options) { o.Bootstrap.CA = "x" },
		"no control plane answers, or not ": func(o *join.Options) { o.Bootstrap.Server = "127.0.0.1:1" },
	} {
		o := p.options(t.TempDir())
		change(&o)
		if _, err := join.Enroll(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		// None of that has spent the token.
		if o.Token == "x" {
			continue
		}
		n++
		good := p.options(t.TempDir())
		good.Token, good.Bootstrap.ID = o.Token, fmt.Sprint("proxy-", n)
		if _, err := join.Enroll(t.Context(), good); err != nil {
			t.Errorf("after %q: %v", want, err)
		}
	}
}

func file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRenewRefuses(t *testing.T) {
	p, n := start(t, "127.0.0.1"), 0
	for want, change := range map[string]func(dir string) error{
		"want a folder that 'sluice bootstrap --token' has filled": func(dir string) error { return os.Remove(filepath.Join(dir, "bootstrap.yaml")) },
		"identity.json: got mode 0644, want 0600":                  func(dir string) error { return os.Chmod(filepath.Join(dir, "identity.json"), 0o644) },
		"identity.json: bootstrap: got no YAML or JSON":            func(dir string) error { return os.WriteFile(filepath.Join(dir, "identity.json"), []byte("{"), 0o600) },
		`got no secret "identity"`: func(dir string) error {
			return os.Rename(filepath.Join(dir, "trust.json"), filepath.Join(dir, "identity.json"))
		},
		"trust.json: no such file": func(dir string) error { return os.Remove(filepath.Join(dir, "trust.json")) },
	} {
		o := p.options(t.TempDir())
		n++
		o.Bootstrap.ID = fmt.Sprint("proxy-", n)
		if _, err := join.Enroll(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if err := change(o.Dir); err != nil {
			t.Fatal(err)
		}
		if _, _, err := join.Renew(t.Context(), o.Dir, true); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestOtherRoot replaces the authority's key as docs/security.md says: a proxy that only renews comes along.
func TestOtherRoot(t *testing.T) {
	first, second := start(t, "127.0.0.1"), start(t, "127.0.0.1")
	read := func(p *plane, name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	o := first.options(t.TempDir())
	if _, err := join.Enroll(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	move := func(to *plane) { // the control plane restarts; here it is at another port
		t.Helper()
		path := filepath.Join(o.Dir, join.BootstrapFile)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, was, _ := net.SplitHostPort(o.Bootstrap.Server)
		_, is, _ := net.SplitHostPort(to.address)
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), was, is, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Bootstrap.Server = to.address
	}
	old, next := read(first, "ca.crt"), read(second, "ca.crt")
	oldKey, nextKey := read(first, "ca.key"), read(second, "ca.key")
	for _, step := range []struct{ what, roots, key string }{
		{"the next is trusted", old + next, oldKey},
		{"the next signs", next + old, nextKey},
		{"the old one is gone", next, nextKey},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"ca.crt": step.roots, "ca.key": step.key} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p := startIn(t, dir, "127.0.0.1")
		move(p)
		if _, done, err := join.Renew(t.Context(), o.Dir, true); !done || err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
	}
	// In one step it does not go.
	if _, done, err := join.Renew(t.Context(), o.Dir, true); !done || err != nil {
		t.Fatal(err)
	}
	move(start(t, "127.0.0.1"))
	if _, _, err := join.Renew(t.Context(), o.Dir, true); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("another authority: got %v", err)
	}
}
