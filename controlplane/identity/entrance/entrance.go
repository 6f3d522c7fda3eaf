// Package entrance joins who may do what (identity) and who makes certificates (authority) to one gRPC server.
//
// In: what the command line says of certificates and tokens. Out: a server's options, and the service by which proxies
// join; or a refusal to hand out private keys to whoever can reach the port. It must not know what is served.
package entrance

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/identity"
	"github.com/sluice-proxy/sluice/controlplane/identity/authority"
)

// Options say how callers are known.
type Options struct {
	// TLS has the files of another authority's making. The zero value is plaintext, which is for loopback addresses
	// alone, since private keys are served; so is TLS without ClientCA.
	TLS identity.Files
	// Insecure lifts that.
	Insecure bool
	// Authority with a TrustDomain makes the control plane an authority itself, in place of TLS: proxies join it by tokens.
	// Its Dir and Logger are set here.
	Authority authority.Options
	// AdminToken and ViewerToken are files with tokens of people and tools, who may write, and read. Empty: with an
	// Authority those in its folder, which are made, since else nobody could make the first join token.
	AdminToken, ViewerToken string
}

// The authority's folder in the state folder, and the files of tokens in it.
const (
	dir         = "identity"
	adminToken  = "admin.token"
	viewerToken = "viewer.token"
)

// Entrance is how callers are known.
type Entrance struct {
	Guard *identity.Guard

	authority *authority.Authority // nil: certificates come from elsewhere, or there are none
	config    *tls.Config          // nil: plaintext
}

// Open reads the files. stateDir must be locked; it may be empty where there is no Authority.
func Open(o Options, bound net.Addr, stateDir string, logger *slog.Logger) (*Entrance, error) {
	own := o.Authority.TrustDomain != ""
	e := &Entrance{Guard: &identity.Guard{Mutual: own || o.TLS.ClientCA != "", TrustDomain: o.Authority.TrustDomain, Logger: logger}}
	tcp, ok := bound.(*net.TCPAddr)
	if ok && !tcp.IP.IsLoopback() && !o.Insecure && !e.Guard.Mutual {
		return nil, fmt.Errorf("control plane: got address %s, which is not loopback, without mutual TLS: anyone who reaches it could fetch the private keys of certificates; want a trust domain, or a certificate, a key and a client CA, or a loopback address, or an explicit insecure", bound)
	}
	var err error
	switch {
	case own:
		err = e.openAuthority(o, bound, stateDir, logger)
	case o.TLS != (identity.Files{}):
		e.config, err = identity.ServerConfig(o.TLS)
	}
	if err != nil {
		return nil, err
	}
	if e.Guard.Admins, err = tokens(o.AdminToken, own, filepath.Join(stateDir, dir, adminToken), logger); err != nil {
		return nil, err
	}
	e.Guard.Viewers, err = tokens(o.ViewerToken, own, filepath.Join(stateDir, dir, viewerToken), logger)
	return e, err
}

func (e *Entrance) openAuthority(o Options, bound net.Addr, stateDir string, logger *slog.Logger) (err error) {
	switch {
	case stateDir == "":
		return errors.New("control plane: trust domain: want a state folder with it, which keeps the authority's key")
	case o.TLS != (identity.Files{}):
		return errors.New("control plane: got a trust domain and certificates of another authority, want the one or the others")
	}
	a := o.Authority
	a.Disconnect = e.Guard.Disconnect
	a.Dir, a.Logger, a.Names = filepath.Join(stateDir, dir), logger, append(names(bound), a.Names...)
	if e.authority, err = authority.Open(a); err != nil {
		return err
	}
	e.config, e.Guard.Revoked = identity.AuthorityConfig(e.authority), e.authority.Revoked
	logger.Info("proxies may join", "trust_domain", a.TrustDomain, "ca", e.authority.Where(), "fingerprint", e.authority.Fingerprint(), "names", a.Names)
	return nil
}

func tokens(given string, own bool, made string, logger *slog.Logger) (*identity.Tokens, error) {
	switch {
	case given != "":
		return identity.OpenTokens(given, logger)
	case own:
		return identity.MakeTokens(made, logger)
	}
	return nil, nil
}

// ServerOptions make a gRPC server ask who calls.
func (e *Entrance) ServerOptions() []grpc.ServerOption {
	options := e.Guard.Options()
	if e.config != nil {
		options = append(options, grpc.Creds(e.Guard.Credentials(e.config)))
	}
	return options
}

// Register adds the service by which proxies join, where there is an authority.
func (e *Entrance) Register(rpc grpc.ServiceRegistrar) {
	if e.authority != nil {
		adminv1.RegisterIdentityServiceServer(rpc, authority.NewService(e.authority, e.Guard.Proxy))
	}
}

// names are those by which this machine may be reached, as far as it knows.
func names(bound net.Addr) []string {
	all := []string{"localhost", "127.0.0.1", "::1"}
	tcp, ok := bound.(*net.TCPAddr)
	if ok && tcp.IP.IsLoopback() {
		return all
	}
	if ok && !tcp.IP.IsUnspecified() {
		all = append(all, tcp.IP.String())
	}
	if host, err := os.Hostname(); err == nil {
		all = append(all, host)
	}
	return all
}
