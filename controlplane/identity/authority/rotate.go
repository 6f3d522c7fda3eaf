package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/identity/secretfile"
)

// Files of a change of the key. That there is a nextKeyFile says that the new key does not sign yet: it becomes keyFile by
// one rename.
const (
	rotationFile = "rotation.json"
	nextKeyFile  = "next.key"
)

// tryAgain is how long a step that failed is left alone: each handshake asks for it.
const tryAgain = 10 * time.Second

// rotation is a change of the authority's key. First both roots are trusted, and the old key signs; when each certificate
// has been renewed, so that its holder knows the new root, the new key signs; when each has been renewed again, the old
// root is dropped.
type rotation struct {
	Format int `json:"sluiceRotation"`
	// Old and Next are the roots, PEM.
	Old  string `json:"old"`
	Next string `json:"next"`
	// Switch is when the new key begins to sign; Drop is when the old root goes: zero until the new key signs.
	Switch time.Time `json:"switch"`
	Drop   time.Time `json:"drop,omitzero"`
}

// due is when the next step is.
func (r *rotation) due() time.Time {
	if r.Drop.IsZero() {
		return r.Switch
	}
	return r.Drop
}

// current is what signs now. A step that is due is taken before.
func (a *Authority) current() *signing {
	if r := a.rotation.Load(); r != nil && !a.opts.Now().Before(r.due()) {
		a.advance()
	}
	return a.signing.Load()
}

func (a *Authority) advance() {
	a.changing.Lock()
	defer a.changing.Unlock()
	r, now := a.rotation.Load(), a.opts.Now()
	if r == nil || now.Before(r.due()) || now.Before(a.again) {
		return
	}
	if err := a.step(r); err != nil {
		a.again = now.Add(tryAgain)
		a.opts.Logger.Error("the change of the authority's key cannot go on, and is tried again", "error", err)
		return
	}
	done := "the authority's new key signs from now on"
	if a.rotation.Load() == nil {
		done = "the authority's old root is trusted no more: its key is replaced"
	}
	a.opts.Logger.Warn(done, "fingerprint", sum(a.signing.Load().roots[0]))
}

// step takes the next step: what a crash leaves of it, load goes on with.
func (a *Authority) step(r *rotation) error {
	if r.Drop.IsZero() {
		err := os.Rename(filepath.Join(a.opts.Dir, nextKeyFile), filepath.Join(a.opts.Dir, keyFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // not there: it was done before
			return err
		}
		return a.load()
	}
	old, err := parseCertificates([]byte(r.Old))
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(a.signing.Load().roots), func(c *x509.Certificate) bool { return c.Equal(old[0]) })
	if err := secretfile.Write(filepath.Join(a.opts.Dir, rootsFile), encode(left)); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(a.opts.Dir, rotationFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return a.load()
}

// loadRotation reads a change of the key that is on its way, and puts the roots in order: the key's own first, and the next one
// among them, also after a crash.
func (a *Authority) loadRotation(key *ecdsa.PrivateKey, all []*x509.Certificate) (*rotation, []*x509.Certificate, error) {
	path := filepath.Join(a.opts.Dir, rotationFile)
	text, err := secretfile.Read(path, maxPEM)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, all, nil
	}
	if err != nil {
		return nil, nil, err
	}
	r := &rotation{}
	damaged := fmt.Errorf("%s: it is damaged, or of another version", path)
	if err := json.Unmarshal(text, r); err != nil || r.Format != 1 {
		return nil, nil, damaged
	}
	next, err := parseCertificates([]byte(r.Next))
	if err != nil {
		return nil, nil, damaged
	}
	if !slices.ContainsFunc(all, next[0].Equal) && r.Drop.IsZero() {
		all = append(all, next[0])
		if err := secretfile.Write(filepath.Join(a.opts.Dir, rootsFile), encode(all)); err != nil {
			return nil, nil, err
		}
	}
	at := slices.IndexFunc(all, func(c *x509.Certificate) bool { return isOf(c, key) })
	if at < 0 {
		return r, all, nil // arrange says what is wrong
	}
	all = slices.Concat(all[at:at+1], all[:at], all[at+1:])
	if isOf(next[0], key) && r.Drop.IsZero() {
		r.Drop = a.opts.Now().Add(a.opts.Lifetime).UTC()
		if latest := a.joins.latest(); latest.After(r.Drop) {
			r.Drop = latest
		}
		if err := a.keepRotation(r); err != nil {
			return nil, nil, err
		}
	}
	return r, all, nil
}

func (a *Authority) keepRotation(r *rotation) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return secretfile.Write(filepath.Join(a.opts.Dir, rotationFile), text)
}

// rotate begins to replace the key.
func (a *Authority) rotate() error {
	if a.opts.Certificate != "" {
		return refuse("the authority's key is in --ca-key: replace it there, see docs/security.md")
	}
	latest := a.joins.latest()
	if tokens := a.joins.latestToken(); tokens.After(latest) {
		latest = tokens
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	if r := a.rotation.Load(); r != nil {
		return refuse("the authority's key is being replaced already: the next step is at %s", r.due().Format(time.RFC3339))
	}
	now := a.signing.Load()
	key, root, err := a.makeRoot()
	if err != nil {
		return err
	}
	r := &rotation{Format: 1, Old: string(encode(now.roots[:1])), Next: string(encode([]*x509.Certificate{root})), Switch: a.opts.Now().Add(a.opts.Lifetime).UTC()}
	if latest.After(r.Switch) {
		r.Switch = latest
	}
	if end := now.ends().UTC(); end.Before(r.Switch) { // it was late: then nothing is good any more that the old key has signed
		r.Switch = end
	}
	// The key first: without the rotation it means nothing, and is overwritten by the next one.
	if err := secretfile.Write(filepath.Join(a.opts.Dir, nextKeyFile), key); err != nil {
		return err
	}
	if err := a.keepRotation(r); err != nil {
		return err
	}
	return a.load()
}

// outlives refuses a join token that would be good for longer than the root that it names signs.
func (a *Authority) outlives(ttl time.Duration) error {
	a.current()
	r := a.rotation.Load()
	if r == nil || !r.Drop.IsZero() {
		return nil
	}
	if most := r.Switch.Sub(a.opts.Now()); ttl > most {
		return refuse("ttl: got %v, want at most %v: the authority's key is replaced at %s, and join tokens name its root", ttl, most.Truncate(time.Second), r.Switch.Format(time.RFC3339))
	}
	return nil
}

func sum(c *x509.Certificate) string {
	s := sha256.Sum256(c.Raw)
	return hex.EncodeToString(s[:])
}

// RotateAuthority begins to replace the authority's key.
func (s *Service) RotateAuthority(ctx context.Context, _ *adminv1.RotateAuthorityRequest) (*adminv1.RotateAuthorityResponse, error) {
	s.authority.current()
	if err := s.authority.rotate(); err != nil {
		return nil, s.answer("ca rotate", err, codes.FailedPrecondition)
	}
	state := s.state()
	s.authority.opts.Logger.Warn("the authority's key is being replaced", "fingerprint", state.GetNextFingerprint(), "signs_from", state.GetSwitch())
	return &adminv1.RotateAuthorityResponse{Authority: state}, nil
}

// GetAuthority tells of the authority.
func (s *Service) GetAuthority(context.Context, *adminv1.GetAuthorityRequest) (*adminv1.GetAuthorityResponse, error) {
	return &adminv1.GetAuthorityResponse{Authority: s.state()}, nil
}

func (s *Service) state() *adminv1.AuthorityState {
	now := s.authority.current()
	out := &adminv1.AuthorityState{Fingerprint: sum(now.roots[0]), Expires: now.ends().UTC().Format(time.RFC3339)}
	for _, c := range now.roots[1:] {
		out.AlsoTrusted = append(out.AlsoTrusted, sum(c))
	}
	r := s.authority.rotation.Load()
	switch {
	case r == nil:
	case r.Drop.IsZero():
		out.Switch = r.Switch.Format(time.RFC3339)
		if next, err := parseCertificates([]byte(r.Next)); err == nil {
			out.NextFingerprint = sum(next[0])
		}
	default:
		out.Drop = r.Drop.Format(time.RFC3339)
	}
	return out
}
