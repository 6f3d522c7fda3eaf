package authority

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is set by tests.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Unix(0, c.now.Load()) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d)) }

func newClock() *clock {
	c := &clock{}
	c.now.Store(time.Now().UnixNano())
	return c
}

func options(t *testing.T, c *clock) Options {
	return Options{
		Dir: filepath.Join(t.TempDir(), "identity"), TrustDomain: "example.org", Names: []string{"cp.example.org", "10.0.0.1"}, Now: c.Now,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func open(t *testing.T, o Options) *Authority {
	t.Helper()
	a, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// leaf issues, and gives the proxy's certificate and what came with it.
func leaf(t *testing.T, a *Authority, n Name) (*x509.Certificate, *x509.CertPool) {
	t.Helper()
	chain, _, err := a.issue(n, newKey(t).Public())
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseCertificates(chain)
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	for _, c := range all[1:] {
		between.AddCert(c)
	}
	return all[0], between
}

func (c *clock) verify(cert *x509.Certificate, roots, between *x509.CertPool, use x509.ExtKeyUsage) error {
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: c.Now(), KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

func TestAuthority(t *testing.T) {
	clock := newClock()
	o := options(t, clock)
	a := open(t, o)
	for _, name := range []string{keyFile, rootsFile} {
		info, err := os.Stat(filepath.Join(o.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, want 0600", name, info.Mode())
		}
	}
	cert, between := leaf(t, a, Name{"edge", "one"})
	if err := clock.verify(cert, a.Roots(), between, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	// A proxy's certificate is no server's: nobody is the control plane by it.
	if err := clock.verify(cert, a.Roots(), between, x509.ExtKeyUsageServerAuth); err == nil {
		t.Error("a proxy's certificate is good for a server")
	}
	if len(cert.URIs) != 1 || cert.URIs[0].String() != "spiffe://example.org/fleet/edge/proxy/one" || len(cert.DNSNames) != 0 || cert.IsCA {
		t.Errorf("got %v, %v", cert.URIs, cert.DNSNames)
	}
	if life := cert.NotAfter.Sub(clock.Now()); life > 24*time.Hour || life < 24*time.Hour-time.Minute {
		t.Errorf("life: got %v, want a day", life)
	}
	if back := clock.Now().Sub(cert.NotBefore); back < ClockSkew {
		t.Errorf("beginning: got %v ago, want at least %v", back, ClockSkew)
	}
	if other, _ := leaf(t, a, Name{"edge", "one"}); other.SerialNumber.Cmp(cert.SerialNumber) == 0 {
		t.Error("two have one serial number")
	}

	// The same again after a restart, and for another trust domain it is no use. What a crash left of a key is gone.
	put(t, &o, ".new-1", "half a key")
	again := open(t, o)
	if _, err := os.Stat(filepath.Join(o.Dir, ".new-1")); !os.IsNotExist(err) {
		t.Errorf("a half-written file is there still: %v", err)
	}
	if again.Fingerprint() != a.Fingerprint() {
		t.Error("another root after a restart")
	}
	o.TrustDomain = "example.com"
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "trust domain example.org, want example.com") {
		t.Errorf("another trust domain: got %v", err)
	}
}

func TestServerCertificate(t *testing.T) {
	clock := newClock()
	a := open(t, options(t, clock))
	first, err := a.ServerCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cp.example.org", "10.0.0.1"} {
		if err := first.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if err := clock.verify(first.Leaf, a.Roots(), nil, x509.ExtKeyUsageClientAuth); err == nil {
		t.Error("the control plane's certificate is good for a client")
	}
	if len(first.Certificate) != 2 || !bytes.Equal(first.Certificate[1], a.current().roots[0].Raw) {
		t.Errorf("got a chain of %d, want the root behind the certificate", len(first.Certificate))
	}
	clock.advance(11 * time.Hour)
	if second, _ := a.ServerCertificate(); second != first {
		t.Error("another one before half its life")
	}
	clock.advance(2 * time.Hour)
	second, err := a.ServerCertificate()
	if err != nil || second == first {
		t.Fatalf("the same after half its life: %v", err)
	}
	if err := clock.verify(second.Leaf, a.Roots(), nil, x509.ExtKeyUsageServerAuth); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, o *Options)
		want   string
	}{
		"no trust domain":     {func(_ *testing.T, o *Options) { o.TrustDomain = "" }, `trust domain: got ""`},
		"an upper-case one":   {func(_ *testing.T, o *Options) { o.TrustDomain = "Example.org" }, `trust domain: got "Example.org"`},
		"a short life":        {func(_ *testing.T, o *Options) { o.Lifetime = time.Millisecond }, "lifetime: got 1ms"},
		"a long life":         {func(_ *testing.T, o *Options) { o.Lifetime = 1000 * time.Hour * 24 }, "lifetime: got 24000h"},
		"half an authority":   {func(_ *testing.T, o *Options) { o.Key = "x" }, "got one, want both"},
		"the key is gone":     {func(t *testing.T, o *Options) { remove(t, o, keyFile) }, "is there, and"},
		"the roots are gone":  {func(t *testing.T, o *Options) { remove(t, o, rootsFile) }, "ca.crt: no such file"},
		"all may read it":     {func(t *testing.T, o *Options) { chmod(t, o, keyFile, 0o644) }, "got mode 0644, want 0600"},
		"the group writes it": {func(t *testing.T, o *Options) { chmod(t, o, keyFile, 0o620) }, "got mode 0620, want 0600"},
		"no key":              {func(t *testing.T, o *Options) { put(t, o, keyFile, "x") }, "got no PEM"},
		"no certificates":     {func(t *testing.T, o *Options) { put(t, o, rootsFile, "x") }, "got no certificate"},
		"another key":         {func(t *testing.T, o *Options) { put(t, o, keyFile, keyPEM(t, newKey(t))) }, "is not the key's"},
		"no authority's": {func(t *testing.T, o *Options) {
			key := newKey(t)
			put(t, o, keyFile, keyPEM(t, key))
			put(t, o, rootsFile, string(encode([]*x509.Certificate{selfMade(t, key, nil, nil, false)})))
		}, "is no authority's"},
		"damaged tokens": {func(t *testing.T, o *Options) { put(t, o, joinsFile, "{") }, "joins.json: it is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, newClock())
			open(t, o)
			c.change(t, &o)
			if _, err := Open(o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	clock := newClock()
	o := options(t, clock)
	open(t, o)
	clock.advance(rootLifetime + time.Hour)
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "it has expired") {
		t.Errorf("an expired root: got %v", err)
	}
}

func remove(t *testing.T, o *Options, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(o.Dir, name)); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, o *Options, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(o.Dir, name), mode); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, o *Options, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// selfMade is a certificate of another's making; nil parents make it a root.
func selfMade(t *testing.T, key *ecdsa.PrivateKey, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, ca bool) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: fmt.Sprintf("made %p", key)}, IsCA: ca, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOtherAuthority signs with an authority that exists already, below its root, and trusts a second root too, as while
// a key is replaced.
func TestOtherAuthority(t *testing.T) {
	clock := newClock()
	rootKey, key, nextKey := newKey(t), newKey(t), newKey(t)
	root := selfMade(t, rootKey, nil, nil, true)
	below := selfMade(t, key, root, rootKey, true)
	next := selfMade(t, nextKey, nil, nil, true)

	dir := t.TempDir()
	o := options(t, clock)
	o.Certificate, o.Key = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	write := func(key *ecdsa.PrivateKey, all ...*x509.Certificate) {
		t.Helper()
		for path, text := range map[string][]byte{o.Certificate: encode(all), o.Key: []byte(keyPEM(t, key))} {
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(key, below, root, next)
	a := open(t, o)
	if len(a.current().roots) != 2 || !a.current().roots[0].Equal(root) || !a.current().roots[1].Equal(next) {
		t.Fatalf("got %d roots", len(a.current().roots))
	}
	cert, between := leaf(t, a, Name{"edge", "one"})
	only := x509.NewCertPool()
	only.AddCert(root)
	if err := clock.verify(cert, only, between, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
	server, err := a.ServerCertificate()
	if err != nil || len(server.Certificate) != 3 || !bytes.Equal(server.Certificate[2], root.Raw) {
		t.Errorf("the control plane's chain: %v, %v", server, err)
	}

	// The next step: the other key signs, and what the first has signed counts still.
	write(nextKey, next, root)
	if err := clock.verify(cert, open(t, o).Roots(), between, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}

	for want, all := range map[string][]*x509.Certificate{
		"is not followed by the one that signed it": {below, next},
		"is no root, and nobody's before it":        {below, root, below},
	} {
		write(key, all...)
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func request(t *testing.T, template *x509.CertificateRequest, key any) []byte {
	t.Helper()
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestPublicKey(t *testing.T) {
	plain := &x509.CertificateRequest{}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	broken := request(t, plain, newKey(t))
	broken[len(broken)-1] ^= 1
	for name, c := range map[string]struct {
		csr  []byte
		want string
	}{
		"good":       {request(t, plain, newKey(t)), ""},
		"nothing":    {nil, "got no PKCS #10"},
		"too long":   {make([]byte, 5000), "more than 4096"},
		"not signed": {broken, "its signature"},
		"a name":     {request(t, &x509.CertificateRequest{DNSNames: []string{"admin"}}, newKey(t)), "got names"},
		"a subject":  {request(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "admin"}}, newKey(t)), "got names"},
		"RSA":        {request(t, plain, rsaKey), "want an ECDSA key"},
		"P-224":      {request(t, plain, p224), "want an ECDSA key"},
	} {
		_, err := publicKey(c.csr)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestToken(t *testing.T) {
	made := newToken([32]byte{1, 2, 3})
	back, err := ParseToken("  " + made.Text() + "\n")
	if err != nil || back != made {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{fmt.Sprint(made), fmt.Sprintf("%v %+v %#v %s", made, made, made, made)} {
		if strings.Contains(text, made.Text()[len(tokenPrefix):]) || !strings.Contains(text, "redacted") {
			t.Errorf("got %s", text)
		}
	}
	for _, bad := range []string{"", "x", made.Text() + "x", made.Text()[1:], tokenPrefix, made.Text()[:40]} {
		_, err := ParseToken(bad)
		if err == nil || (len(bad) > 20 && strings.Contains(err.Error(), bad[len(bad)-10:])) {
			t.Errorf("%q: got %v, want an error that does not tell it", bad, err)
		}
	}
}

func anHour(now func() time.Time) *x509.Certificate {
	return &x509.Certificate{SerialNumber: serial(), NotAfter: now().Add(time.Hour)}
}

func TestJoins(t *testing.T) {
	clock := newClock()
	path := filepath.Join(t.TempDir(), joinsFile)
	reopen := func() *joins {
		t.Helper()
		j, err := openJoins(path, clock.Now)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j := reopen()
	mint := func(n Name, ttl time.Duration, uses int) Token {
		t.Helper()
		token := newToken([32]byte{})
		if _, err := j.create(token, n, ttl, uses); err != nil {
			t.Fatal(err)
		}
		return token
	}
	use := func(token Token, n Name, want string) {
		t.Helper()
		var got Name
		err := j.use(token, n, func(n Name) (*x509.Certificate, error) { got = n; return anHour(clock.Now), nil })
		switch {
		case want == "" && (err != nil || got.Fleet != "edge" || (n.ID != "" && got.ID != n.ID)):
			t.Errorf("got %v, %v", got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || got != Name{}):
			t.Errorf("got %v and %v, want %s", got, err, want)
		}
	}
	anyone := Name{Fleet: "edge"}
	twice := mint(anyone, time.Hour, 2)
	use(twice, Name{"edge", "a"}, "")
	use(twice, Name{"edge", "a"}, "has a certificate until")
	use(twice, Name{"", "b"}, "")
	use(twice, Name{"", "c"}, "was used, by [a b]")
	use(newToken([32]byte{}), Name{"edge", "c"}, "is not known here")
	bound := mint(Name{"edge", "a"}, time.Hour, 1)
	use(bound, Name{}, "") // takes the place of the one that is there
	use(bound, Name{}, "was used")

	// A failure to issue spends nothing.
	token := mint(anyone, time.Hour, 1)
	if err := j.use(token, Name{ID: "d"}, func(Name) (*x509.Certificate, error) { return nil, os.ErrInvalid }); err == nil {
		t.Error("got nil")
	}
	clock.advance(time.Hour - time.Second)
	use(token, Name{ID: "d"}, "")
	// Names are free again when their certificates have ended, clocks and all.
	clock.advance(ClockSkew + 3*time.Second)
	use(mint(anyone, time.Hour, 1), Name{ID: "a"}, "")

	late := mint(anyone, time.Minute, 1)
	clock.advance(time.Minute)
	use(late, Name{ID: "e"}, "expired at")
	j = reopen()
	use(late, Name{ID: "e"}, "expired at")
	clock.advance(remember)
	use(late, Name{ID: "e"}, "is not known here")

	// The disk is full, or so: it is not used up without being kept, and not kept without being used up.
	token = mint(anyone, time.Hour, 1)
	if err := os.Rename(filepath.Dir(path), filepath.Dir(path)+"-away"); err != nil {
		t.Fatal(err)
	}
	use2 := func() error {
		return j.use(token, Name{ID: "f"}, func(Name) (*x509.Certificate, error) { return anHour(clock.Now), nil })
	}
	if err := use2(); err == nil {
		t.Error("got a certificate that nobody keeps in mind")
	}
	if err := os.Rename(filepath.Dir(path)+"-away", filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if err := use2(); err != nil {
		t.Error(err)
	}

	for want, c := range map[string]struct {
		n    Name
		ttl  time.Duration
		uses int
	}{
		`fleet: got ""`:        {Name{}, time.Hour, 1},
		`fleet: got "a/b"`:     {Name{Fleet: "a/b"}, time.Hour, 1},
		`id: got "../x"`:       {Name{"edge", "../x"}, time.Hour, 1},
		"ttl: got 0s":          {anyone, 0, 1},
		"ttl: got 169h":        {anyone, 169 * time.Hour, 1},
		"uses: got 10001":      {anyone, time.Hour, 10_001},
		"uses: got 2 for one ": {Name{"edge", "a"}, time.Hour, 2},
	} {
		if _, err := j.create(newToken([32]byte{}), c.n, c.ttl, c.uses); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte(token.Text()[len(tokenPrefix):][:20])) {
		t.Errorf("the file has the token in it, or is gone: %v", err)
	}
}

// TestOnce lets many use one token at the same time.
func TestOnce(t *testing.T) {
	j, err := openJoins(filepath.Join(t.TempDir(), joinsFile), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	token := newToken([32]byte{})
	if _, err := j.create(token, Name{Fleet: "edge"}, time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	var good atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if j.use(token, Name{ID: fmt.Sprint(i)}, func(Name) (*x509.Certificate, error) { return anHour(time.Now), nil }) == nil {
				good.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 1 {
		t.Errorf("got %d, want 1", good.Load())
	}
}

func TestLimit(t *testing.T) {
	clock := newClock()
	l := newLimit(2, time.Minute, 3, clock.Now)
	take := func(key string, want bool) {
		t.Helper()
		if got := l.take(key); got != want {
			t.Errorf("%s: got %v, want %v", key, got, want)
		}
	}
	take("a", true)
	take("a", true)
	take("a", false)
	take("b", true)
	clock.advance(time.Minute)
	take("a", true)
	take("a", false)
	take("c", true)
	take("d", true) // b was full again, and is forgotten for it
	if len(l.buckets) > 3 {
		t.Errorf("got %d buckets, want at most 3", len(l.buckets))
	}
	take("a", false)
}

// TestEnrollLimits: whoever guesses is soon done, and is in nobody's way.
func TestEnrollLimits(t *testing.T) {
	clock := newClock()
	s := NewService(open(t, options(t, clock)), nil)
	from := func(address string) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(address), Port: 1}})
	}
	enroll := func(address, token, id string, want codes.Code) {
		t.Helper()
		_, err := s.Enroll(from(address), &adminv1.EnrollRequest{Token: token, Id: id, Csr: request(t, &x509.CertificateRequest{}, newKey(t))})
		if status.Code(err) != want {
			t.Errorf("%s: got %v, want %v", address, err, want)
		}
	}
	for range failBurst {
		enroll("2001:db8::1", newToken([32]byte{}).Text(), "a", codes.PermissionDenied)
	}
	enroll("2001:db8::1", newToken([32]byte{}).Text(), "a", codes.ResourceExhausted)
	enroll("2001:db8::2", "x", "a", codes.ResourceExhausted) // the same network
	enroll("2001:db8:0:1::1", "x", "a", codes.PermissionDenied)
	enroll("192.0.2.1", "x", "a", codes.PermissionDenied)

	made, err := s.CreateToken(t.Context(), &adminv1.CreateTokenRequest{Fleet: "edge", Uses: enrollBurst + 2})
	if err != nil {
		t.Fatal(err)
	}
	for i := range enrollBurst {
		enroll("2001:db8::1", made.GetToken(), fmt.Sprint(i), codes.OK)
	}
	enroll("2001:db8::1", made.GetToken(), "more", codes.ResourceExhausted)
	clock.advance(enrollEvery)
	enroll("2001:db8::1", made.GetToken(), "more", codes.OK)
	clock.advance(2 * time.Hour)
	for range failBurst { // one that was good once is a guess like any other
		enroll("192.0.2.2", made.GetToken(), "last", codes.PermissionDenied)
	}
	enroll("192.0.2.2", made.GetToken(), "last", codes.ResourceExhausted)
}

// FuzzEnroll: whatever a stranger sends is refused, and not told back at length.
func FuzzEnroll(f *testing.F) {
	f.Add(newToken([32]byte{}).Text(), "edge", "one", []byte{0x30, 0})
	f.Add("", "", "", []byte(nil))
	a, err := Open(Options{Dir: f.TempDir(), TrustDomain: "example.org", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	s := NewService(a, nil)
	f.Fuzz(func(t *testing.T, token, fleet, id string, csr []byte) {
		s.failures = newLimit(1, time.Hour, 1, time.Now)
		_, err := s.Enroll(t.Context(), &adminv1.EnrollRequest{Token: token, Fleet: fleet, Id: id, Csr: csr})
		if err == nil {
			t.Error("a stranger has joined")
		} else if len(err.Error()) > 1000 {
			t.Errorf("got %d bytes of error", len(err.Error()))
		}
		_, _ = publicKey(csr) // Enroll looks at it only behind a good token
	})
}
