package authority

import (
	"cmp"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/identity/secretfile"
)

// Limits on what is kept.
const (
	maxTokens = 10_000
	maxNames  = 100_000
	maxUses   = 10_000
	maxTTL    = 7 * 24 * time.Hour
	// remember is for how long a token that is no longer good is told apart from one that never was.
	remember = 24 * time.Hour
	// maxJoined is how many of those who joined by a token are remembered with it.
	maxJoined = 100
)

// Join is what is kept of a join token.
type Join struct {
	// Name is no secret; Hash is its secret's.
	Name string `json:"name"`
	Hash string `json:"hash"`
	// Fleet and ID are what it lets a proxy be; an empty ID is any that nobody has.
	Fleet   string    `json:"fleet"`
	ID      string    `json:"id,omitempty"`
	Expires time.Time `json:"expires"`
	// Left is how often it is still good, Joined who used it.
	Left    int      `json:"left"`
	Joined  []string `json:"joined,omitempty"`
	Revoked bool     `json:"revoked,omitempty"`
}

// State is "good", "expired", "used" or "revoked".
func (j *Join) State(now time.Time) string {
	switch {
	case j.Revoked:
		return "revoked"
	case j.Left == 0:
		return "used"
	case !now.Before(j.Expires):
		return "expired"
	}
	return "good"
}

// kept is the file.
type kept struct {
	Format int     `json:"sluiceJoins"`
	Tokens []*Join `json:"tokens"`
	// Names are those of the proxies that have a certificate, with the time when the last of it expires.
	Names map[string]time.Time `json:"names"`
}

// joins are the tokens, and the names that are taken. What changes is on disk before anybody hears of it: a token is
// not good again after a crash.
type joins struct {
	path string           // read-only
	now  func() time.Time // read-only

	mu      sync.Mutex
	kept    kept // guarded by mu
	revoked *revoked
	until   atomic.Int64 // in Unix seconds: latest
}

func openJoins(path string, now func() time.Time) (*joins, error) {
	j := &joins{path: path, now: now, kept: kept{Format: 1, Names: map[string]time.Time{}}}
	var err error
	if j.revoked, err = openRevoked(filepath.Join(filepath.Dir(path), revokedFile)); err != nil {
		return nil, err
	}
	text, err := secretfile.Read(path, maxJoins)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &j.kept); err != nil || j.kept.Format != 1 {
		// With it goes who has joined: better no start than a name for two.
		return nil, fmt.Errorf("%s: it is damaged, or of another version: remove it to begin anew without tokens", path)
	}
	if j.kept.Names == nil {
		j.kept.Names = map[string]time.Time{}
	}
	j.know(&j.kept)
	return j, nil
}

// change lets f change a copy, and keeps that if it could be written.
func (j *joins) change(f func(*kept) error) error {
	now := j.now()
	next := kept{Format: 1, Names: make(map[string]time.Time, len(j.kept.Names))}
	for _, t := range j.kept.Tokens {
		if now.Before(t.Expires.Add(remember)) {
			c := *t
			c.Joined = slices.Clone(t.Joined)
			next.Tokens = append(next.Tokens, &c)
		}
	}
	for name, until := range j.kept.Names {
		if now.Before(until.Add(ClockSkew)) {
			next.Names[name] = until
		}
	}
	if err := f(&next); err != nil {
		return err
	}
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := secretfile.Write(j.path, text); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	j.kept = next
	j.know(&next)
	return nil
}

// refusal is an error that whoever asked is to blame for.
type refusal struct{ error }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// create keeps a new token.
func (j *joins) create(t Token, n Name, ttl time.Duration, uses int) (Join, error) {
	check := n
	check.ID = cmp.Or(n.ID, "any")
	switch err := check.check(); {
	case err != nil:
		return Join{}, refusal{err}
	case ttl <= 0 || ttl > maxTTL:
		return Join{}, refuse("ttl: got %v, want more than 0s and at most %v", ttl, maxTTL)
	case uses < 1 || uses > maxUses:
		return Join{}, refuse("uses: got %d, want 1 to %d", uses, maxUses)
	case n.ID != "" && uses > 1:
		return Join{}, refuse("uses: got %d for one id, want 1: an id is one proxy's", uses)
	}
	var name [4]byte
	_, _ = rand.Read(name[:]) // never fails
	made := &Join{
		Name: hex.EncodeToString(name[:]), Hash: t.hash(), Fleet: n.Fleet, ID: n.ID, Expires: j.now().Add(ttl).UTC(), Left: uses,
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return *made, j.change(func(k *kept) error {
		if len(k.Tokens) >= maxTokens {
			return refuse("got more than %d tokens, want fewer: revoke some, or wait until they expire", maxTokens)
		}
		k.Tokens = append(k.Tokens, made)
		return nil
	})
}

// errUnknown is for a token that was never made, or long ago.
var errUnknown = refuse("the join token is not known here: it is of another control plane, or was good long ago; want one of 'sluice token create'")

// look is nil for a token that is good for some proxy, now.
func (j *joins) look(t Token) error {
	hash := t.hash()
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.kept.find(hash).look(j.now())
}

func (j *Join) look(now time.Time) error {
	if j == nil || !now.Before(j.Expires.Add(remember)) {
		return errUnknown
	}
	switch j.State(now) {
	case "revoked":
		return refuse("the join token %s was revoked: want another", j.Name)
	case "used":
		return refuse("the join token %s was used, by %v: want another", j.Name, j.Joined)
	case "expired":
		return refuse("the join token %s expired at %s, and it is %s here: want another", j.Name,
			j.Expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// find finds a token by the hash of what was shown: how long that takes tells nothing of the secrets.
func (k *kept) find(hash string) *Join {
	for _, t := range k.Tokens {
		if t.Hash == hash {
			return t
		}
	}
	return nil
}

// judge says which proxy a good token lets somebody be, who wants to be one.
func (k *kept) judge(token *Join, wanted Name, now time.Time, out *revoked) (Name, error) {
	name := Name{token.Fleet, cmp.Or(wanted.ID, token.ID)}
	_, revoked := out.all()[name.String()]
	switch {
	case wanted.Fleet != "" && wanted.Fleet != token.Fleet:
		return name, refuse("fleet: got %.64q, want %s: the join token is for that one", wanted.Fleet, token.Fleet)
	case name.ID == "":
		return name, refuse("id: got none, want one (--id): the join token is for any")
	case token.ID != "" && name.ID != token.ID:
		return name, refuse("id: got %.128q, want %s: the join token is for that one", name.ID, token.ID)
	}
	if err := name.check(); err != nil {
		return name, refusal{err}
	}
	if revoked && token.ID == "" {
		return name, refuse("id: %s was revoked: want another id, or a token for this one ('sluice token create --fleet %s --id %s')", name, name.Fleet, name.ID)
	}
	if until, taken := k.Names[name.String()]; taken && token.ID == "" && now.Before(until.Add(ClockSkew)) {
		return name, refuse("id: %s has a certificate until %s already: want another id, or a token for this one ('sluice token create --fleet %s --id %s'), which replaces it",
			name, until.UTC().Format(time.RFC3339), name.Fleet, name.ID)
	}
	if len(k.Names) >= maxNames {
		return name, refuse("got more than %d proxies", maxNames)
	}
	return name, nil
}

// use takes one use of a token for a proxy. done is called before that is kept, and gives the proxy its certificate.
func (j *joins) use(t Token, wanted Name, done func(Name) (*x509.Certificate, error)) error {
	hash := t.hash()
	j.mu.Lock()
	defer j.mu.Unlock()
	token, now := j.kept.find(hash), j.now()
	if err := token.look(now); err != nil {
		return err
	}
	name, err := j.kept.judge(token, wanted, now, j.revoked)
	if err != nil {
		return err
	}
	return j.change(func(k *kept) error {
		leaf, err := done(name)
		if err != nil {
			return err
		}
		if err := j.revoked.allow(name, leaf); err != nil {
			return err
		}
		k.Names[name.String()] = leaf.NotAfter.UTC()
		token := k.find(hash) // the copy, which is kept
		token.Left--
		if token.Joined = append(token.Joined, name.ID); len(token.Joined) > maxJoined {
			token.Joined = token.Joined[1:]
		}
		return nil
	})
}

// renew gives a proxy another certificate for the one with a serial number, by done, and keeps that it has its name for
// longer. Nobody revokes it meanwhile.
func (j *joins) renew(n Name, serial string, done func() (*x509.Certificate, error)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.revoked.has(n, serial) {
		return refuse("the certificate of %s was revoked: want another join token, 'sluice token create --fleet %s --id %s'", n, n.Fleet, n.ID)
	}
	leaf, err := done()
	if err != nil {
		return err
	}
	if err := j.revoked.allow(n, leaf); err != nil {
		return err
	}
	return j.change(func(k *kept) error {
		k.Names[n.String()] = leaf.NotAfter.UTC()
		return nil
	})
}

// latest is when the last of the certificates that were given ends. It takes no mutex: who issues is asked for it, too.
func (j *joins) latest() time.Time { return time.Unix(j.until.Load(), 0).UTC() }

// know remembers latest.
func (j *joins) know(k *kept) {
	latest := int64(0)
	for _, until := range k.Names {
		latest = max(latest, until.Unix())
	}
	j.until.Store(latest)
}

// latestToken is when the last of the tokens that are good expires.
func (j *joins) latestToken() (latest time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.kept.Tokens {
		if t.State(j.now()) == "good" && t.Expires.After(latest) {
			latest = t.Expires
		}
	}
	return latest
}

// revoke makes a token worthless.
func (j *joins) revoke(name string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.change(func(k *kept) error {
		for _, t := range k.Tokens {
			if t.Name == name {
				t.Revoked = true
				return nil
			}
		}
		return refuse("name: got %q, want that of a token ('sluice token list')", name)
	})
}

// list has copies, by fleet and name; an empty fleet is all.
func (j *joins) list(fleet string) []Join {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.now()
	var out []Join
	for _, t := range j.kept.Tokens {
		if (fleet == "" || fleet == t.Fleet) && now.Before(t.Expires.Add(remember)) {
			c := *t
			c.Joined = slices.Clone(t.Joined)
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b Join) int { return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Name, b.Name)) })
	return out
}
