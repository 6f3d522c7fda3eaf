package authority

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/identity/secretfile"
)

// maxGood is how many certificates of a proxy that has joined again are told from those of before. It has one or two.
const maxGood = 10

// revocation is of a proxy whose certificates count no more, but for those that it was given since. Times would not do to
// tell these apart: a certificate begins before it is made, and clocks are set.
type revocation struct {
	At time.Time `json:"at"`
	// Good are serial numbers, the newest last.
	Good []string `json:"good,omitempty"`
}

// revoked are all revocations. They are never forgotten: a certificate may be of somebody who signs beside us, for years.
type revoked struct {
	path string // read-only
	// now is replaced as a whole, by who holds the mutex of the joins, and read without it: each connection asks.
	now atomic.Pointer[map[string]revocation]
}

// keptRevoked is the file.
type keptRevoked struct {
	Format  int                   `json:"sluiceRevoked"`
	Proxies map[string]revocation `json:"proxies"`
}

func openRevoked(path string) (*revoked, error) {
	r := &revoked{path: path}
	r.now.Store(&map[string]revocation{})
	text, err := secretfile.Read(path, maxJoins)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	var k keptRevoked
	if err := json.Unmarshal(text, &k); err != nil || k.Format != 1 {
		// Better no start than a thief who is let in again.
		return nil, fmt.Errorf("%s: it is damaged, or of another version: put it back, or remove it to forget which proxies were revoked", path)
	}
	if k.Proxies != nil {
		r.now.Store(&k.Proxies)
	}
	return r, nil
}

func (r *revoked) all() map[string]revocation { return *r.now.Load() }

// has tells whether a proxy's certificate counts no more.
func (r *revoked) has(n Name, serial string) bool {
	one, ok := r.all()[n.String()]
	return ok && !slices.Contains(one.Good, serial)
}

// set keeps a revocation, and has it count then.
func (r *revoked) set(n Name, one revocation) error {
	next := maps.Clone(r.all())
	next[n.String()] = one
	text, err := json.Marshal(keptRevoked{Format: 1, Proxies: next})
	if err != nil {
		return err
	}
	if err := secretfile.Write(r.path, text); err != nil {
		return fmt.Errorf("authority: %w", err)
	}
	r.now.Store(&next)
	return nil
}

// allow lets a new certificate of a proxy count.
func (r *revoked) allow(n Name, leaf *x509.Certificate) error {
	one, ok := r.all()[n.String()]
	if !ok {
		return nil
	}
	one.Good = append(slices.Clone(one.Good), leaf.SerialNumber.Text(16))
	one.Good = one.Good[max(0, len(one.Good)-maxGood):]
	return r.set(n, one)
}

// revokeProxy makes the certificates of a proxy worthless, and the join tokens that would bring it back.
func (j *joins) revokeProxy(n Name) (tokens int, known bool, err error) {
	if err := n.check(); err != nil {
		return 0, false, refusal{err}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if all := j.revoked.all(); len(all) >= maxNames {
		return 0, false, refuse("got more than %d proxies that were revoked", maxNames)
	}
	now := j.now()
	if err := j.revoked.set(n, revocation{At: now.UTC().Truncate(time.Second)}); err != nil {
		return 0, false, err
	}
	until, known := j.kept.Names[n.String()]
	err = j.change(func(k *kept) error {
		for _, t := range k.Tokens {
			if t.Fleet == n.Fleet && t.ID == n.ID && t.State(now) == "good" {
				t.Revoked = true
				tokens++
			}
		}
		return nil
	})
	return tokens, known && now.Before(until), err
}

// Revoked tells whether the certificate of a proxy with a serial number, in hexadecimal, counts no more.
func (a *Authority) Revoked(fleet, id, serial string) bool {
	return a.joins.revoked.has(Name{fleet, id}, serial)
}

// RevokeProxy makes all certificates of a proxy worthless.
func (s *Service) RevokeProxy(_ context.Context, r *adminv1.RevokeProxyRequest) (*adminv1.RevokeProxyResponse, error) {
	n := Name{r.GetFleet(), r.GetId()}
	tokens, known, err := s.authority.joins.revokeProxy(n)
	// Also if not all could be written: who comes back is refused if he may be.
	ended := 0
	if disconnect := s.authority.opts.Disconnect; disconnect != nil {
		ended = disconnect(n.Fleet, n.ID)
	}
	if err != nil {
		return nil, s.answer("revoke", err, codes.InvalidArgument)
	}
	s.authority.opts.Logger.Warn("a proxy was revoked", "fleet", n.Fleet, "id", n.ID, "connections", ended, "tokens", tokens)
	return &adminv1.RevokeProxyResponse{Ended: uint32(ended), Tokens: uint32(tokens), Known: known}, nil
}

// ListRevoked tells which proxies were revoked.
func (s *Service) ListRevoked(_ context.Context, r *adminv1.ListRevokedRequest) (*adminv1.ListRevokedResponse, error) {
	response := &adminv1.ListRevokedResponse{}
	for name, one := range s.authority.joins.revoked.all() {
		fleet, id, _ := strings.Cut(name, "/")
		if r.GetFleet() == "" || r.GetFleet() == fleet {
			response.Proxies = append(response.Proxies, &adminv1.RevokedProxy{Fleet: fleet, Id: id, Revoked: one.At.Format(time.RFC3339), JoinedAgain: len(one.Good) > 0})
		}
	}
	slices.SortFunc(response.Proxies, func(a, b *adminv1.RevokedProxy) int {
		return cmp.Or(cmp.Compare(a.GetFleet(), b.GetFleet()), cmp.Compare(a.GetId(), b.GetId()))
	})
	return response, nil
}
