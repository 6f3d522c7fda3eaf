package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/xds/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMethods: each method of our own API stands in the table.
func TestMethods(t *testing.T) {
	ours := map[string]bool{}
	protoregistry.GlobalFiles.RangeFilesByPackage("sluice.admin.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for k := range s.Methods().Len() {
				ours["/"+string(s.FullName())+"/"+string(s.Methods().Get(k).Name())] = true
			}
		}
		return true
	})
	if len(ours) < 8 {
		t.Fatalf("got %v, want all of the API", ours)
	}
	for method := range ours {
		if methods[method] == 0 {
			t.Errorf("%s has no entry in the table of methods: may it only read, or does it write?", method)
		}
	}
}

const (
	adminSecret  = "an-admin-token-of-at-least-32-characters"
	viewerSecret = "a-viewer-token-of-at-least-32-characters"
)

func tokens(t *testing.T, lines string) *Tokens {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := OpenTokens(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestGuard(t *testing.T) {
	const (
		look   = "/sluice.admin.v1.AdminService/Status"
		change = "/sluice.admin.v1.IdentityService/CreateToken"
		join   = "/sluice.admin.v1.IdentityService/Enroll"
		stream = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
		none   = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	)
	admins, viewers := tokens(t, "# people\n"+adminSecret+"\n\n"+strings.ToUpper(adminSecret)+"\n"), tokens(t, viewerSecret)
	open := &Guard{}
	byToken := &Guard{Admins: admins, Viewers: viewers}
	mutual := &Guard{Mutual: true}
	full := &Guard{Mutual: true, TrustDomain: "example.org", Admins: admins, Viewers: viewers}
	here, away := "127.0.0.1", "192.0.2.1"
	for _, c := range []struct {
		name           string
		guard          *Guard
		from           string
		tls            bool
		uri            string
		authorization  string
		look, mayWrite codes.Code
	}{
		{"nobody can show anything, from here", open, here, false, "", "", codes.OK, codes.OK},
		{"nobody can show anything, from elsewhere", open, away, false, "", "", codes.OK, codes.PermissionDenied},
		{"a token where there are none", open, here, false, "", "Bearer " + adminSecret, codes.Unauthenticated, codes.Unauthenticated},
		{"no token, from here", byToken, here, false, "", "", codes.Unauthenticated, codes.Unauthenticated},
		{"the admin's", byToken, here, false, "", "Bearer " + adminSecret, codes.OK, codes.OK},
		{"the admin's second", byToken, here, false, "", "bearer " + strings.ToUpper(adminSecret), codes.OK, codes.OK},
		{"the viewer's", byToken, here, false, "", "Bearer " + viewerSecret, codes.OK, codes.PermissionDenied},
		{"an unknown one", byToken, here, false, "", "Bearer " + adminSecret + "x", codes.Unauthenticated, codes.Unauthenticated},
		{"a comment", byToken, here, false, "", "Bearer # people", codes.Unauthenticated, codes.Unauthenticated},
		{"nothing", byToken, here, false, "", "Bearer ", codes.Unauthenticated, codes.Unauthenticated},
		{"another scheme", byToken, here, false, "", "Basic " + adminSecret, codes.Unauthenticated, codes.Unauthenticated},
		{"in the clear, from elsewhere", byToken, away, false, "", "Bearer " + adminSecret, codes.Unauthenticated, codes.Unauthenticated},
		{"over TLS, from elsewhere", byToken, away, true, "", "Bearer " + adminSecret, codes.OK, codes.OK},
		{"mutual, nothing shown", mutual, here, true, "", "", codes.Unauthenticated, codes.Unauthenticated},
		{"an operator", mutual, away, true, "spiffe://any/admin/jane", "", codes.OK, codes.OK},
		{"one who may look", mutual, away, true, "spiffe://any/viewer/jim", "", codes.OK, codes.PermissionDenied},
		{"almost one", mutual, away, true, "spiffe://any/viewers", "", codes.PermissionDenied, codes.PermissionDenied},
		{"a proxy", mutual, away, true, "spiffe://any/fleet/admin/proxy/admin", "", codes.PermissionDenied, codes.PermissionDenied},
		{"an operator of the domain", full, away, true, "spiffe://example.org/admin", "", codes.OK, codes.OK},
		{"an operator of another domain", full, away, true, "spiffe://example.com/admin", "", codes.PermissionDenied, codes.PermissionDenied},
		{"a proxy with a token", full, away, true, "spiffe://example.org/fleet/a/proxy/b", "Bearer " + viewerSecret, codes.OK, codes.PermissionDenied},
		{"an operator with a bad token", full, away, true, "spiffe://example.org/admin", "Bearer x", codes.Unauthenticated, codes.Unauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(c.from), Port: 1}}
			if c.tls {
				info := credentials.TLSInfo{}
				if c.uri != "" {
					uri, err := url.Parse(c.uri)
					if err != nil {
						t.Fatal(err)
					}
					info.State.VerifiedChains = [][]*x509.Certificate{{{URIs: []*url.URL{uri}}}}
				}
				p.AuthInfo = info
			}
			ctx := peer.NewContext(t.Context(), p)
			if c.authorization != "" {
				ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("authorization", c.authorization))
			}
			c.guard.Logger = slog.New(slog.DiscardHandler)
			mayStream := codes.OK
			if c.guard.Mutual && c.uri == "" {
				mayStream = codes.Unauthenticated
			}
			for method, want := range map[string]codes.Code{look: c.look, change: c.mayWrite, join: codes.OK, stream: mayStream, none: codes.PermissionDenied} {
				err := c.guard.authorize(ctx, method)
				if status.Code(err) != want {
					t.Errorf("%s: got %v, want %v", method, err, want)
				}
				if err != nil && (strings.Contains(err.Error(), adminSecret) || strings.Contains(err.Error(), viewerSecret)) {
					t.Errorf("%s: the error tells a token: %v", method, err)
				}
			}
		})
	}
}

func TestTrustDomain(t *testing.T) {
	guard := &Guard{Mutual: true, TrustDomain: "example.org"}
	node := server.Node{ID: "one", Cluster: "edge"}
	for uri, want := range map[string]codes.Code{
		"spiffe://example.org/fleet/edge/proxy/one": codes.OK,
		"spiffe://example.com/fleet/edge/proxy/one": codes.PermissionDenied,
	} {
		if err := guard.AuthorizeProxy(with(t, []string{uri}, nil), node); status.Code(err) != want {
			t.Errorf("%s: got %v, want %v", uri, err, want)
		}
		if fleet, id, _, err := guard.Proxy(with(t, []string{uri}, nil)); status.Code(err) != want || (err == nil && (fleet != "edge" || id != "one")) {
			t.Errorf("%s: got %s, %s, %v, want %v", uri, fleet, id, err, want)
		}
	}
	// A DNS name says nothing of a trust domain.
	if err := guard.AuthorizeProxy(with(t, nil, []string{"one.edge"}), node); status.Code(err) != codes.PermissionDenied {
		t.Errorf("by DNS name: got %v", err)
	}
	if err := (&Guard{}).AuthorizeProxy(t.Context(), node); err != nil {
		t.Errorf("without certificates: got %v", err)
	}
}

func TestTokenFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tokens")
	for want, c := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"got mode 0644, want 0600":            {adminSecret, 0o644},
		"tokens:2: want a token of at least":  {"#\nshort\n", 0o600},
		"tokens:1: want a token of at least ": {adminSecret + " x", 0o600},
		"got 0 tokens":                        {"# none\n", 0o600},
		"got 101 tokens":                      {strings.Repeat(adminSecret+"\n", 101), 0o600},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := OpenTokens(path, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), adminSecret) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	made, err := MakeTokens(filepath.Join(dir, "made"), nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ReadToken(filepath.Join(dir, "made"))
	if err != nil || !made.have(text) || made.have("") {
		t.Errorf("%v", err)
	}
	if again, err := MakeTokens(filepath.Join(dir, "made"), nil); err != nil || !again.have(text) {
		t.Errorf("another one was made: %v", err)
	}

	// Another token in the file counts, the old one no more; a bad file changes nothing.
	changing := tokens(t, adminSecret)
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(changing.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		changing.looked = time.Time{}
	}
	put(viewerSecret)
	if changing.have(adminSecret) || !changing.have(viewerSecret) {
		t.Error("the file's new token does not count, or its old one does")
	}
	put("bad")
	if !changing.have(viewerSecret) {
		t.Error("a bad file took the good tokens away")
	}
}

// tlsServer is a server with an authority of its own, and what signs for it.
type tlsServer struct {
	t       *testing.T
	key     *ecdsa.PrivateKey
	root    *x509.Certificate
	roots   *x509.CertPool
	address string
}

func startTLS(t *testing.T, guard *Guard) *tlsServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &tlsServer{t: t, key: key, roots: x509.NewCertPool()}
	s.root = s.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	})
	s.roots.AddCert(s.root)
	own := s.pair(s.sign(&x509.Certificate{DNSNames: []string{"cp"}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rpc := grpc.NewServer(append(guard.Options(), grpc.WaitForHandlers(true), grpc.Creds(guard.Credentials(AuthorityConfig(fixed{own, s.roots}))))...)
	healthpb.RegisterHealthServer(rpc, silent{})
	ended := make(chan struct{})
	go func() { defer close(ended); _ = rpc.Serve(listener) }()
	t.Cleanup(func() { rpc.Stop(); <-ended })
	s.address = listener.Addr().String()
	return s
}

func (s *tlsServer) sign(template *x509.Certificate) *x509.Certificate {
	s.t.Helper()
	template.SerialNumber, template.NotBefore = big.NewInt(1), time.Now().Add(-time.Hour)
	parent := s.root
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, s.key.Public(), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *tlsServer) pair(c *x509.Certificate) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: s.key}
}

// client connects when it is first used.
func (s *tlsServer) client(certificates ...tls.Certificate) healthpb.HealthClient {
	s.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{ServerName: "cp", RootCAs: s.roots, Certificates: certificates})))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return healthpb.NewHealthClient(conn)
}

// TestExpire: a connection ends when its client's certificate does, and no other can be had by it.
func TestExpire(t *testing.T) {
	methods["/grpc.health.v1.Health/Watch"] = byNode
	defer delete(methods, "/grpc.health.v1.Health/Watch")
	s := startTLS(t, &Guard{Mutual: true})
	ends := time.Now().Add(2 * time.Second).Truncate(time.Second)
	pair := s.pair(s.sign(&x509.Certificate{NotAfter: ends, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))
	watch := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		stream, err := s.client(pair).Watch(ctx, &healthpb.HealthCheckRequest{})
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}
	err := watch()
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want the connection's end", err)
	}
	if now := time.Now(); now.Before(ends) {
		t.Errorf("it ended %v before the certificate: %v", ends.Sub(now), err)
	}
	if err := watch(); status.Code(err) != codes.Unavailable {
		t.Errorf("with an expired certificate: got %v", err)
	}
}

// TestStranger: who shows neither a certificate nor a token can send little; who shows one, much.
func TestStranger(t *testing.T) {
	s := startTLS(t, &Guard{Mutual: true, Admins: tokens(t, adminSecret)})
	large := &healthpb.HealthCheckRequest{Service: strings.Repeat("x", 2*strangerBytes)}
	pair := s.pair(s.sign(&x509.Certificate{NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}))
	as := func(token string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	}
	// The method is nobody's: whoever is heard to the end is refused for that.
	for _, c := range []struct {
		name string
		by   healthpb.HealthClient
		ctx  context.Context
		what *healthpb.HealthCheckRequest
		want codes.Code
	}{
		{"a little", s.client(), t.Context(), &healthpb.HealthCheckRequest{}, codes.PermissionDenied},
		{"much", s.client(), t.Context(), large, codes.Unavailable},
		{"much, with a token", s.client(), as(adminSecret), large, codes.PermissionDenied},
		{"much, with a bad token", s.client(), as(viewerSecret), large, codes.Unavailable},
		{"much, with a certificate", s.client(pair), t.Context(), large, codes.PermissionDenied},
	} {
		if _, err := c.by.Check(c.ctx, c.what); status.Code(err) != c.want {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

type fixed struct {
	certificate tls.Certificate
	roots       *x509.CertPool
}

func (f fixed) ServerCertificate() (*tls.Certificate, error) { return &f.certificate, nil }
func (f fixed) Roots() *x509.CertPool                        { return f.roots }

// silent says that it is there, and nothing else.
type silent struct {
	healthpb.UnimplementedHealthServer
}

func (silent) Watch(_ *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// TestDefinitionMethods: who may only read may ask everything about definitions, and undo nothing.
func TestDefinitionMethods(t *testing.T) {
	for method, want := range map[string]access{"Plan": read, "List": read, "Describe": read, "History": read, "Undo": write} {
		if got := methods["/sluice.admin.v1.DefinitionService/"+method]; got != want {
			t.Errorf("%s: got %d, want %d", method, got, want)
		}
	}
}
