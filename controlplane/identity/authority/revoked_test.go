package authority

import (
	"context"
	"crypto/x509"
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

// revoking is a service whose caller is always edge/one, with the certificate that shown has.
type revoking struct {
	*Service
	t     *testing.T
	a     *Authority
	shown string // a serial number
	ended []string
}

func openRevoking(t *testing.T, o Options) *revoking {
	t.Helper()
	r := &revoking{t: t}
	o.Disconnect = func(fleet, id string) int { r.ended = append(r.ended, fleet+"/"+id); return 1 }
	r.a = open(t, o)
	r.Service = NewService(r.a, func(context.Context) (fleet, id, serial string, err error) { return "edge", "one", r.shown, nil })
	return r
}

func (r *revoking) token(id string) string {
	r.t.Helper()
	response, err := r.CreateToken(r.t.Context(), &adminv1.CreateTokenRequest{Fleet: "edge", Id: id})
	if err != nil {
		r.t.Fatal(err)
	}
	return response.GetToken()
}

// certificate looks at what was given: a serial number, or a refusal.
func (r *revoking) certificate(issued *adminv1.Issued, err error, want string) string {
	r.t.Helper()
	switch {
	case want != "":
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), want) {
			r.t.Errorf("got %v, want PermissionDenied: %s", err, want)
		}
		return ""
	case err != nil:
		r.t.Fatal(err)
	}
	all, err := parseCertificates(issued.GetChain())
	if err != nil {
		r.t.Fatal(err)
	}
	return all[0].SerialNumber.Text(16)
}

func (r *revoking) join(token, want string) string {
	r.t.Helper()
	response, err := r.Enroll(r.t.Context(), &adminv1.EnrollRequest{Token: token, Id: "one", Csr: request(r.t, &x509.CertificateRequest{}, newKey(r.t))})
	return r.certificate(response.GetIssued(), err, want)
}

func (r *revoking) renew(shown, want string) string {
	r.t.Helper()
	r.shown = shown
	response, err := r.Renew(r.t.Context(), &adminv1.RenewRequest{Csr: request(r.t, &x509.CertificateRequest{}, newKey(r.t))})
	return r.certificate(response.GetIssued(), err, want)
}

func (r *revoking) revoke() *adminv1.RevokeProxyResponse {
	r.t.Helper()
	response, err := r.RevokeProxy(r.t.Context(), &adminv1.RevokeProxyRequest{Fleet: "edge", Id: "one"})
	if err != nil {
		r.t.Fatal(err)
	}
	return response
}

// count checks which certificates count.
func (r *revoking) count(good bool, serials ...string) {
	r.t.Helper()
	for i, serial := range serials {
		if r.a.Revoked("edge", "one", serial) == good {
			r.t.Errorf("certificate %d: got revoked %v", i, good)
		}
	}
}

// TestRevoke: what a proxy had is worth nothing, at once and after a restart, until it has a token for its own id.
func TestRevoke(t *testing.T) {
	clock := newClock()
	o := options(t, clock)
	r := openRevoking(t, o)
	first := r.join(r.token("one"), "")
	second := r.renew(first, "")
	r.count(true, first, second)
	pending, anyone := r.token("one"), r.token("")
	if got := r.revoke(); got.GetTokens() != 1 || !got.GetKnown() || got.GetEnded() != 1 || !slices.Equal(r.ended, []string{"edge/one"}) {
		t.Errorf("got %v, and ended %v", got, r.ended)
	}
	for range 2 {
		r.count(false, first, second)
		r.renew(first, "the certificate of edge/one was revoked")
		r.renew(second, "the certificate of edge/one was revoked")
		r.join(pending, "was revoked: want another")
		r.join(anyone, "id: edge/one was revoked: want another id, or a token for this one")
		if r.a.Revoked("edge", "two", first) || r.a.Revoked("core", "one", first) {
			t.Error("another proxy was revoked")
		}
		r = openRevoking(t, o)
	}
	clock.advance(40 * 24 * time.Hour) // the name would be free again
	r.join(r.token(""), "id: edge/one was revoked")

	// A token for its id brings it back, by the certificates that it gets from then on.
	third := r.join(r.token("one"), "")
	fourth := r.renew(third, "")
	for range 2 {
		r.count(true, third, fourth)
		r.count(false, first, second)
		r = openRevoking(t, o)
	}
	list := func() *adminv1.RevokedProxy {
		t.Helper()
		all, err := r.ListRevoked(t.Context(), &adminv1.ListRevokedRequest{Fleet: "edge"})
		if err != nil || len(all.GetProxies()) != 1 {
			t.Fatalf("got %v, %v, want one", all, err)
		}
		return all.GetProxies()[0]
	}
	if one := list(); one.GetFleet() != "edge" || one.GetId() != "one" || !one.GetJoinedAgain() {
		t.Errorf("got %v", one)
	}
	r.revoke()
	r.count(false, first, second, third, fourth)
	if one := list(); one.GetJoinedAgain() || one.GetRevoked() != clock.Now().UTC().Format(time.RFC3339) {
		t.Errorf("got %v", one)
	}
	last := r.join(r.token("one"), "")
	for range 2 * maxGood {
		clock.advance(time.Hour) // as often as one may
		last = r.renew(last, "")
	}
	r.count(true, last)
	if n := len(r.a.joins.revoked.all()["edge/one"].Good); n != maxGood {
		t.Errorf("got %d certificates remembered, want %d", n, maxGood)
	}
	if all, err := r.ListRevoked(t.Context(), &adminv1.ListRevokedRequest{Fleet: "core"}); err != nil || len(all.GetProxies()) != 0 {
		t.Errorf("of another fleet: got %v, %v", all, err)
	}
	if got, err := r.RevokeProxy(t.Context(), &adminv1.RevokeProxyRequest{Fleet: "edge", Id: "nobody"}); err != nil || got.GetKnown() {
		t.Errorf("who never joined: got %v, %v", got, err)
	}
	if _, err := r.RevokeProxy(t.Context(), &adminv1.RevokeProxyRequest{Fleet: "edge", Id: "a/b"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v, want InvalidArgument", err)
	}

	path := filepath.Join(o.Dir, revokedFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v", info, err)
	}
	put(t, &o, revokedFile, "{")
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "revoked.json: it is damaged") {
		t.Errorf("got %v", err)
	}
}

// TestRevokeWhileRenewing: no certificate slips through that was asked for before, and given after.
func TestRevokeWhileRenewing(t *testing.T) {
	clock := newClock()
	r := openRevoking(t, options(t, clock))
	r.shown = r.join(r.token("one"), "")
	r.renewals = newLimit(1000, time.Second, 1, clock.Now)
	var mu sync.Mutex
	given := []string{r.shown}
	csr := request(t, &x509.CertificateRequest{}, newKey(t))
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for {
				response, err := r.Renew(t.Context(), &adminv1.RenewRequest{Csr: csr})
				if err != nil {
					return
				}
				serial := r.certificate(response.GetIssued(), nil, "")
				mu.Lock()
				given = append(given, serial)
				mu.Unlock()
			}
		})
	}
	r.revoke()
	all.Wait()
	r.count(false, given...)
}
