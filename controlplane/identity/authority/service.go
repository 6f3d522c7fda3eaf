package authority

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/identity/address"
)

// Bounds on what strangers can make us do. Who joins in a storm of a whole fleet waits a little; who tries tokens from
// one address (IPv6: its /64) is soon done.
const (
	enrollBurst = 200
	enrollEvery = 20 * time.Millisecond
	failBurst   = 10
	failEvery   = 6 * time.Second
	renewBurst  = 10
	renewEvery  = time.Minute
	maxKeys     = 10_000
)

const defaultTTL = time.Hour

// Service implements adminv1.IdentityServiceServer. Who may call what is decided before it (package identity).
type Service struct {
	adminv1.UnimplementedIdentityServiceServer

	// Read-only after NewService.
	authority *Authority
	caller    func(context.Context) (fleet, id, serial string, err error)

	enrolls, failures, renewals *limit
}

var _ adminv1.IdentityServiceServer = (*Service)(nil)

// NewService serves an authority. caller tells which proxy a call's certificate is of, and its serial number, or refuses with an error that
// carries a gRPC status.
func NewService(a *Authority, caller func(context.Context) (fleet, id, serial string, err error)) *Service {
	now := a.opts.Now
	return &Service{
		authority: a, caller: caller,
		enrolls:  newLimit(enrollBurst, enrollEvery, 1, now),
		failures: newLimit(failBurst, failEvery, maxKeys, now),
		renewals: newLimit(renewBurst, min(renewEvery, a.opts.Lifetime/10), maxKeys, now),
	}
}

// CreateToken makes a join token.
func (s *Service) CreateToken(_ context.Context, r *adminv1.CreateTokenRequest) (*adminv1.CreateTokenResponse, error) {
	ttl := defaultTTL
	if text := r.GetTtl(); text != "" {
		var err error
		if ttl, err = time.ParseDuration(text); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "ttl: got %q, want a time like 1h or 30m", text)
		}
	}
	if err := s.authority.outlives(ttl); err != nil {
		return nil, s.answer("token create", err, codes.InvalidArgument)
	}
	token := newToken(s.authority.fingerprint())
	made, err := s.authority.joins.create(token, Name{r.GetFleet(), r.GetId()}, ttl, int(cmp.Or(r.GetUses(), 1)))
	if err != nil {
		return nil, s.answer("token create", err, codes.InvalidArgument)
	}
	s.authority.opts.Logger.Info("join token made", "token", made.Name, "fleet", made.Fleet, "id", made.ID, "expires", made.Expires, "uses", made.Left)
	return &adminv1.CreateTokenResponse{Token: token.Text(), About: s.about(made)}, nil
}

// ListTokens tells of the join tokens.
func (s *Service) ListTokens(_ context.Context, r *adminv1.ListTokensRequest) (*adminv1.ListTokensResponse, error) {
	response := &adminv1.ListTokensResponse{}
	for _, j := range s.authority.joins.list(r.GetFleet()) {
		response.Tokens = append(response.Tokens, s.about(j))
	}
	return response, nil
}

func (s *Service) about(j Join) *adminv1.JoinToken {
	return &adminv1.JoinToken{
		Name: j.Name, Fleet: j.Fleet, Id: j.ID, Expires: j.Expires.Format(time.RFC3339), Left: uint32(j.Left),
		Joined: j.Joined, State: j.State(s.authority.opts.Now()),
	}
}

// RevokeToken makes a join token worthless.
func (s *Service) RevokeToken(_ context.Context, r *adminv1.RevokeTokenRequest) (*adminv1.RevokeTokenResponse, error) {
	if err := s.authority.joins.revoke(r.GetName()); err != nil {
		return nil, s.answer("token revoke", err, codes.NotFound)
	}
	s.authority.opts.Logger.Info("join token revoked", "token", r.GetName())
	return &adminv1.RevokeTokenResponse{}, nil
}

// Enroll gives a certificate for a join token. Tokens that are no good are counted by address, so who
// has a good one is in nobody's way, and nobody in his.
func (s *Service) Enroll(ctx context.Context, r *adminv1.EnrollRequest) (*adminv1.EnrollResponse, error) {
	from := from(ctx)
	token, err := ParseToken(r.GetToken())
	if err == nil {
		err = s.authority.joins.look(token)
	} else {
		err = refusal{err}
	}
	switch {
	case err != nil && !s.failures.take(from):
		return nil, status.Errorf(codes.ResourceExhausted, "too many join tokens from this address were refused: try again in %v", failEvery)
	case err == nil && !s.enrolls.take(""):
		return nil, status.Error(codes.ResourceExhausted, "too many proxies join at the same time: try again in a second")
	}
	var response *adminv1.EnrollResponse
	if err == nil {
		response, err = s.enroll(token, r)
	}
	if err != nil {
		s.authority.opts.Logger.Warn("a proxy may not join", "from", from, "error", err)
		return nil, s.answer("enroll", err, codes.PermissionDenied)
	}
	s.authority.opts.Logger.Info("a proxy joined", "fleet", response.GetFleet(), "id", response.GetId(), "from", from)
	return response, nil
}

func (s *Service) enroll(token Token, r *adminv1.EnrollRequest) (*adminv1.EnrollResponse, error) {
	key, err := publicKey(r.GetCsr())
	if err != nil {
		return nil, refusal{err}
	}
	response := &adminv1.EnrollResponse{Issued: &adminv1.Issued{Roots: encode(s.authority.current().roots)}}
	err = s.authority.joins.use(token, Name{r.GetFleet(), r.GetId()}, func(n Name) (leaf *x509.Certificate, err error) {
		response.Fleet, response.Id = n.Fleet, n.ID
		response.Issued.Chain, leaf, err = s.authority.issue(n, key)
		return leaf, err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// Renew gives a proxy another certificate in its name.
func (s *Service) Renew(ctx context.Context, r *adminv1.RenewRequest) (*adminv1.RenewResponse, error) {
	fleet, id, serial, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	name := Name{fleet, id}
	if err := name.check(); err != nil {
		return nil, status.Error(codes.PermissionDenied, err.Error())
	}
	if !s.renewals.take(name.String()) {
		return nil, status.Errorf(codes.ResourceExhausted, "%s renews its certificate too often", name)
	}
	key, err := publicKey(r.GetCsr())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	var chain []byte
	var until time.Time
	err = s.authority.joins.renew(name, serial, func() (leaf *x509.Certificate, err error) {
		if chain, leaf, err = s.authority.issue(name, key); err == nil {
			until = leaf.NotAfter
		}
		return leaf, err
	})
	if err != nil {
		s.authority.opts.Logger.Warn("a proxy's certificate is not renewed", "fleet", fleet, "id", id, "from", from(ctx), "error", err)
		return nil, s.answer("renew", err, codes.PermissionDenied)
	}
	s.authority.opts.Logger.Info("a proxy's certificate was renewed", "fleet", fleet, "id", id, "until", until)
	return &adminv1.RenewResponse{Issued: &adminv1.Issued{Chain: chain, Roots: encode(s.authority.current().roots)}}, nil
}

// answer tells a caller what is wrong with what he asked, and keeps our own troubles to the log.
func (s *Service) answer(what string, err error, code codes.Code) error {
	if errors.As(err, new(refusal)) {
		return status.Error(code, err.Error())
	}
	s.authority.opts.Logger.Error("identity: "+what, "error", err)
	return status.Error(codes.Internal, fmt.Sprintf("%s: the control plane has a fault: see its log", what))
}

// from is whose failures are counted together.
func from(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	return address.Of(p.Addr)
}
