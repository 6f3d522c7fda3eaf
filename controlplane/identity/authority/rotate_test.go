package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func (r *revoking) rotate() *adminv1.AuthorityState {
	r.t.Helper()
	response, err := r.RotateAuthority(r.t.Context(), &adminv1.RotateAuthorityRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	return response.GetAuthority()
}

func (r *revoking) authority() *adminv1.AuthorityState {
	r.t.Helper()
	response, err := r.GetAuthority(r.t.Context(), &adminv1.GetAuthorityRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	return response.GetAuthority()
}

func pool(roots ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range roots {
		p.AddCert(c)
	}
	return p
}

// rootsFileOf reads ca.crt.
func rootsFileOf(t *testing.T, o Options) []*x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(o.Dir, rootsFile))
	if err != nil {
		t.Fatal(err)
	}
	all, err := parseCertificates(text)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func gone(t *testing.T, o Options, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(o.Dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is there still: %v", name, err)
		}
	}
}

// TestRotate goes through a change of the key: at each moment, what the old key signed is good until it expires, and whoever
// renewed it in time trusts the control plane. A restart at each step changes nothing.
func TestRotate(t *testing.T) {
	clock := newClock()
	o := options(t, clock)
	r := openRevoking(t, o)
	again := func() {
		t.Helper()
		before := r.authority()
		r = openRevoking(t, o)
		if after := r.authority(); before.String() != after.String() {
			t.Errorf("after a restart: got %v, want %v", after, before)
		}
	}
	server := func(roots *x509.CertPool) error {
		t.Helper()
		shown, err := r.a.ServerCertificate()
		if err != nil {
			t.Fatal(err)
		}
		return clock.verify(shown.Leaf, roots, nil, x509.ExtKeyUsageServerAuth)
	}
	old := r.a.current().roots[0]
	first, _ := leaf(t, r.a, Name{"edge", "one"})
	began := clock.Now()
	state := r.rotate()
	if want := began.Add(24 * time.Hour).UTC().Format(time.RFC3339); state.GetSwitch() != want || state.GetFingerprint() != sum(old) || state.GetDrop() != "" ||
		!slices.Equal(state.GetAlsoTrusted(), []string{state.GetNextFingerprint()}) {
		t.Errorf("got %v, want the next root trusted, and to sign from %s", state, want)
	}
	again()
	both := r.a.current().roots
	if len(both) != 2 || !both[0].Equal(old) || len(rootsFileOf(t, o)) != 2 {
		t.Fatalf("got %d roots, want the old one and the next", len(both))
	}
	next := both[1]
	if _, err := r.RotateAuthority(t.Context(), &adminv1.RotateAuthorityRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a second change: got %v, want FailedPrecondition", err)
	}
	// Who joined before knows the old root alone, until he renews.
	clock.advance(13 * time.Hour)
	if err := server(pool(old)); err != nil {
		t.Errorf("the control plane, to who knows the old root: %v", err)
	}
	second, _ := leaf(t, r.a, Name{"edge", "one"})
	if err := clock.verify(second, pool(old), nil, x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("what is issued before the change: %v", err)
	}
	if _, err := r.CreateToken(t.Context(), &adminv1.CreateTokenRequest{Fleet: "edge", Ttl: "13h"}); status.Code(err) != codes.InvalidArgument ||
		!strings.Contains(err.Error(), "want at most 11h") {
		t.Errorf("a token that outlives its root: got %v", err)
	}

	clock.advance(11 * time.Hour) // the new key signs
	if err := server(pool(next)); err != nil {
		t.Errorf("the control plane, by the new key: %v", err)
	}
	if got := r.authority(); got.GetFingerprint() != sum(next) || got.GetDrop() != clock.Now().Add(24*time.Hour).UTC().Format(time.RFC3339) {
		t.Errorf("got %v", got)
	}
	again()
	third, _ := leaf(t, r.a, Name{"edge", "one"})
	if err := clock.verify(third, pool(next), nil, x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("what is issued after the change: %v", err)
	}
	if err := clock.verify(second, r.a.Roots(), nil, x509.ExtKeyUsageClientAuth); err != nil {
		t.Errorf("what was issued before, and is good: %v", err)
	}
	if err := clock.verify(first, r.a.Roots(), nil, x509.ExtKeyUsageClientAuth); err == nil {
		t.Error("what was issued before the change began should have expired")
	}
	token, err := ParseToken(r.token("two"))
	if err != nil || hex.EncodeToString(token.Root[:]) != sum(next) {
		t.Errorf("a token names another root than the one that signs: %v", err)
	}
	gone(t, o, nextKeyFile)

	clock.advance(24 * time.Hour) // the old root goes
	if roots := r.a.current().roots; len(roots) != 1 || !roots[0].Equal(next) {
		t.Errorf("got %d roots, want the new one", len(roots))
	}
	again()
	if all := rootsFileOf(t, o); len(all) != 1 || !all[0].Equal(next) {
		t.Errorf("got %d roots in the file", len(all))
	}
	gone(t, o, rotationFile, nextKeyFile)
	if err := server(pool(next)); err != nil {
		t.Error(err)
	}
	r.rotate() // and once more, some day
}

// TestRotateWaits: while certificates of a longer life, or join tokens, need the old root, it signs.
func TestRotateWaits(t *testing.T) {
	clock := newClock()
	o := options(t, clock)
	o.Lifetime = 72 * time.Hour
	r := openRevoking(t, o)
	r.join(r.token("one"), "")
	o.Lifetime = time.Hour
	r = openRevoking(t, o)
	if got, want := r.rotate().GetSwitch(), clock.Now().Add(72*time.Hour).UTC().Format(time.RFC3339); got != want {
		t.Errorf("got %s, want %s, when the last certificate ends", got, want)
	}

	o = options(t, clock)
	r = openRevoking(t, o)
	if _, err := r.CreateToken(t.Context(), &adminv1.CreateTokenRequest{Fleet: "edge", Ttl: "100h"}); err != nil {
		t.Fatal(err)
	}
	if got, want := r.rotate().GetSwitch(), clock.Now().Add(100*time.Hour).UTC().Format(time.RFC3339); got != want {
		t.Errorf("got %s, want %s, when the last token expires", got, want)
	}
}

// TestRotateLate: an authority whose end is near is complained of; its key can be replaced until the last moment.
func TestRotateLate(t *testing.T) {
	clock := newClock()
	o := options(t, clock)
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	r := openRevoking(t, o)
	if _, err := r.a.ServerCertificate(); err != nil || log.Len() != 0 {
		t.Fatalf("got %v and the log %s, want no complaint", err, &log)
	}
	clock.advance(rootLifetime - time.Hour)
	if _, err := r.a.ServerCertificate(); err != nil || !strings.Contains(log.String(), "ends soon") {
		t.Errorf("got %v and the log %s, want a complaint", err, &log)
	}
	r.rotate()
	clock.advance(2 * time.Hour)
	r = openRevoking(t, o) // with an old root that has expired
	cert, _ := leaf(t, r.a, Name{"edge", "one"})
	if err := clock.verify(cert, r.a.Roots(), nil, x509.ExtKeyUsageClientAuth); err != nil {
		t.Error(err)
	}
}

// TestRotateCrash: what a crash leaves of each step is gone on with, or begun anew.
func TestRotateCrash(t *testing.T) {
	read := func(o Options, name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(o.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, c := range []struct {
		name string
		// after is which step has been taken, crash undoes a part of it.
		after int
		crash func(o Options, before map[string]string)
		// then is what is true after a start.
		then func(a *Authority, old, next *x509.Certificate) bool
	}{
		{"a key alone", 0, func(o Options, _ map[string]string) { put(t, &o, nextKeyFile, "half a key") }, func(a *Authority, old, _ *x509.Certificate) bool {
			return a.rotation.Load() == nil && len(a.current().roots) == 1 && a.rotate() == nil && len(a.current().roots) == 2
		}},
		{"the new root is not trusted", 1, func(o Options, before map[string]string) { put(t, &o, rootsFile, before[rootsFile]) }, func(a *Authority, old, next *x509.Certificate) bool {
			roots := a.current().roots
			return len(roots) == 2 && roots[0].Equal(old) && roots[1].Equal(next)
		}},
		{"the new key signs, and nobody knows when the old root goes", 2, func(o Options, before map[string]string) { put(t, &o, rotationFile, before[rotationFile]) }, func(a *Authority, _, next *x509.Certificate) bool {
			return a.current().roots[0].Equal(next) && len(a.current().roots) == 2 && !a.rotation.Load().Drop.IsZero()
		}},
		{"the old root has gone, and the change is there still", 3, func(o Options, before map[string]string) { put(t, &o, rotationFile, before[rotationFile]) }, func(a *Authority, _, next *x509.Certificate) bool {
			return len(a.current().roots) == 1 && a.current().roots[0].Equal(next) && a.rotation.Load() == nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clock := newClock()
			o := options(t, clock)
			a := open(t, o)
			old, next := a.current().roots[0], (*x509.Certificate)(nil)
			before := map[string]string{}
			for step := 1; step <= c.after; step++ {
				before[rootsFile] = read(o, rootsFile)
				if step > 1 {
					before[rotationFile] = read(o, rotationFile)
					clock.advance(24 * time.Hour)
					a.current()
				} else {
					if err := a.rotate(); err != nil {
						t.Fatal(err)
					}
					next = a.current().roots[1]
				}
			}
			c.crash(o, before)
			if again := open(t, o); !c.then(again, old, next) {
				t.Errorf("got %d roots, and the change %+v", len(again.current().roots), again.rotation.Load())
			}
		})
	}
}

// TestRotateGoesOnLater: a step that cannot be kept is not taken, and tried again.
func TestRotateGoesOnLater(t *testing.T) {
	clock := newClock()
	o := options(t, clock)
	a := open(t, o)
	old := a.current().roots[0]
	if err := a.rotate(); err != nil {
		t.Fatal(err)
	}
	clock.advance(24 * time.Hour)
	if err := os.Rename(o.Dir, o.Dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if !a.current().roots[0].Equal(old) {
		t.Error("the new key signs, and is not kept")
	}
	if err := os.Rename(o.Dir+"-away", o.Dir); err != nil {
		t.Fatal(err)
	}
	if !a.current().roots[0].Equal(old) {
		t.Error("it is tried at each call")
	}
	clock.advance(tryAgain)
	if a.current().roots[0].Equal(old) {
		t.Error("it is not tried again")
	}
}

// TestRotateAmidCalls: who is issuing while the key changes waits for nobody who waits for him.
func TestRotateAmidCalls(t *testing.T) {
	clock := newClock()
	r := openRevoking(t, options(t, clock))
	r.shown = r.join(r.token("one"), "")
	r.renewals = newLimit(1_000_000, time.Millisecond, 1, clock.Now)
	csr := request(t, &x509.CertificateRequest{}, newKey(t))
	r.rotate()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := r.Renew(t.Context(), &adminv1.RenewRequest{Csr: csr}); err != nil {
					t.Error(err)
				}
				if _, err := r.a.ServerCertificate(); err != nil {
					t.Error(err)
				}
				_ = r.a.Roots()
			}
		})
	}
	for range 2 * 24 {
		clock.advance(time.Hour)
		_ = r.authority()
	}
	for r.authority().GetDrop() != "" || r.authority().GetSwitch() != "" { // each renewal may have put it off
		clock.advance(time.Hour)
	}
	stop()
	all.Wait()
	if n := len(r.a.current().roots); n != 1 {
		t.Errorf("got %d roots, want the new one", n)
	}
}

// TestRotateOthers: a key that is somebody else's file is his to replace.
func TestRotateOthers(t *testing.T) {
	clock := newClock()
	o := options(t, clock)
	open(t, o)
	theirs := options(t, clock)
	theirs.Certificate, theirs.Key = filepath.Join(o.Dir, rootsFile), filepath.Join(o.Dir, keyFile)
	r := openRevoking(t, theirs)
	if _, err := r.RotateAuthority(t.Context(), &adminv1.RotateAuthorityRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v, want FailedPrecondition", err)
	}
}
