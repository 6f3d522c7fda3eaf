package identity

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"github.com/sluice-proxy/sluice/controlplane/identity/address"
	"github.com/sluice-proxy/sluice/xds/server"
)

// Guard decides who may call what, before it is called.
type Guard struct {
	// TrustDomain is the host that every SPIFFE ID must have; empty is any.
	TrustDomain string
	// Mutual: clients show certificates that were verified.
	Mutual bool
	// Admins and Viewers are the tokens of people and tools: who may write, who may read. Nil is none.
	Admins, Viewers *Tokens
	// Revoked tells whether the certificate of a proxy with a serial number, in hexadecimal, counts no more. Nil: none.
	Revoked func(fleet, id, serial string) bool
	// Logger is told of each call that writes. Nil is slog.Default.
	Logger *slog.Logger

	open    *connections // of proxies; nil without Credentials
	streams streams
	told    told
}

// Options make a gRPC server ask the guard.
func (g *Guard) Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.InTapHandle(g.recognize),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			if err := g.authorize(ctx, info.FullMethod); err != nil {
				return nil, err
			}
			return handler(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			if err := g.authorize(stream.Context(), info.FullMethod); err != nil {
				return err
			}
			if methods[info.FullMethod] == byNode {
				leave, err := g.streams.add(stream.Context())
				if err != nil {
					return err
				}
				defer leave()
			}
			return handler(srv, stream)
		}),
	}
}

// recognize lifts the bounds of a connection whose client shows a good token: before the message behind it is read,
// which may be large. It refuses nobody: that is for later. (What it refused, gRPC would not let go of until the
// connection ends.)
func (g *Guard) recognize(ctx context.Context, call *tap.Info) (context.Context, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ctx, nil
	}
	i, ok := p.AuthInfo.(info)
	if !ok || i.conn.known.Load() {
		return ctx, nil
	}
	if given := call.Header.Get("authorization"); len(given) > 0 {
		if _, _, err := g.bearer(ctx, given); err == nil {
			i.conn.know()
		}
	}
	i.conn.call()
	return ctx, nil
}

func (g *Guard) authorize(ctx context.Context, method string) error {
	want := methods[method]
	switch want {
	case byNode:
		// Whose it is, AuthorizeProxy says, when the node is told. Who has no certificate gets no stream to tell it by: there
		// are only so many.
		if !g.Mutual {
			return nil
		}
		leaf, err := peerCertificate(ctx)
		if err == nil {
			err = g.revoked(leaf)
		}
		return g.refused(ctx, method, err)
	case byJoinToken, byCertificate:
		return nil
	case read, write:
	default:
		return status.Errorf(codes.PermissionDenied, "%s: nobody may call it: it has no entry in the table of methods", method)
	}
	who, may, err := g.caller(ctx)
	if err == nil && may < want {
		err = status.Errorf(codes.PermissionDenied, "%s changes something, and %s may only read: want %s", name(method), who, g.writers())
	}
	if err != nil {
		return g.refused(ctx, method, err)
	}
	if want == write {
		g.logger().Info("admin call", "method", name(method), "by", who, "from", text(remote(ctx)))
	}
	return nil
}

// refused logs an error, if there is one, and it is not the next of many.
func (g *Guard) refused(ctx context.Context, method string, err error) error {
	if err != nil && g.told.fresh(address.Of(remote(ctx)), time.Now()) {
		g.logger().Warn("a call was refused", "method", name(method), "from", text(remote(ctx)), "error", err)
	}
	return err
}

func (g *Guard) logger() *slog.Logger {
	if g.Logger == nil {
		return slog.Default()
	}
	return g.Logger
}

func name(method string) string { return method[strings.LastIndexByte(method, '/')+1:] }

func (g *Guard) writers() string {
	switch {
	case g.Admins != nil:
		return "the admin token"
	case g.Mutual:
		return "a certificate with the URI spiffe://<any>/admin"
	}
	return "a call from the control plane's own machine, or an admin token (--admin-token of the control plane)"
}

// caller is who calls, and whether he may read or write.
func (g *Guard) caller(ctx context.Context) (who string, may access, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if given := md.Get("authorization"); len(given) > 0 {
		return g.bearer(ctx, given)
	}
	if leaf, err := peerCertificate(ctx); err == nil {
		return g.operator(leaf)
	}
	switch {
	case g.Admins != nil || g.Viewers != nil:
		return "", 0, status.Error(codes.Unauthenticated, "got no credential, want a token (--token-file), or an operator's certificate")
	case g.Mutual:
		return "", 0, errNoCertificate
	// Nobody can show who he is. Who is on this machine could reach the files anyway; others may look.
	case loopback(ctx):
		return "whoever is on this machine", write, nil
	}
	return "whoever is not on this machine", read, nil
}

// bearer takes `authorization: Bearer TOKEN`.
func (g *Guard) bearer(ctx context.Context, given []string) (who string, may access, err error) {
	if !encrypted(ctx) && !loopback(ctx) {
		return "", 0, status.Error(codes.Unauthenticated, "got a token over plaintext from another machine: it must count as known to others now; want TLS, and another token")
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	if len(given) != 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", 0, status.Error(codes.Unauthenticated, "authorization: want one, of the form Bearer TOKEN")
	}
	// Both are asked, whatever the first says.
	admin, viewer := g.Admins.have(token), g.Viewers.have(token)
	switch {
	case admin:
		return "the admin token", write, nil
	case viewer:
		return "the viewer token", read, nil
	}
	return "", 0, status.Error(codes.Unauthenticated, "the token is not known here")
}

// operator takes a certificate with the URI spiffe://<domain>/admin or /viewer, or one below, or the DNS name admin or
// viewer, which are no proxy's.
func (g *Guard) operator(leaf *x509.Certificate) (who string, may access, err error) {
	for _, role := range []struct {
		name string
		may  access
	}{{"admin", write}, {"viewer", read}} {
		for _, uri := range leaf.URIs {
			if path := spiffe(uri, g.TrustDomain); path == "/"+role.name || strings.HasPrefix(path, "/"+role.name+"/") {
				return uri.String(), role.may, nil
			}
		}
		if g.TrustDomain == "" && slices.ContainsFunc(leaf.DNSNames, func(n string) bool { return strings.EqualFold(n, role.name) }) {
			return role.name, role.may, nil
		}
	}
	return "", 0, status.Errorf(codes.PermissionDenied, "the client's certificate is for %s: want the URI spiffe://<any>/admin or the DNS name admin (or viewer, to read)", names(leaf))
}

// AuthorizeProxy lets a client be the node that it says it is if its certificate says so too.
func (g *Guard) AuthorizeProxy(ctx context.Context, node server.Node) error {
	if !g.Mutual {
		return nil
	}
	return authorizeProxy(ctx, node, g.TrustDomain)
}

// Proxy is the fleet and the id in a caller's certificate, and its serial number, in hexadecimal.
func (g *Guard) Proxy(ctx context.Context) (fleet, id, serial string, err error) {
	leaf, err := peerCertificate(ctx)
	if err != nil {
		return "", "", "", err
	}
	if n, ok := proxyOf(leaf, g.TrustDomain); ok {
		return n.fleet, n.id, serialOf(leaf), g.revoked(leaf)
	}
	return "", "", "", status.Errorf(codes.PermissionDenied, "the client's certificate is for %s: want the URI spiffe://%s/fleet/<fleet>/proxy/<id>", names(leaf), g.TrustDomain)
}

// errNoCertificate is told to who shows none.
var errNoCertificate = status.Error(codes.Unauthenticated, "got no client certificate, want one")

// tlsInfo is what TLS tells of a client.
func tlsInfo(p *peer.Peer) (credentials.TLSInfo, bool) {
	if i, ok := p.AuthInfo.(info); ok {
		return i.TLSInfo, true
	}
	i, ok := p.AuthInfo.(credentials.TLSInfo)
	return i, ok
}

func encrypted(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	_, ok = tlsInfo(p)
	return ok
}

// loopback tells whether a caller is on this machine: by TCP's address, or by a transport that goes no further.
func loopback(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

func remote(ctx context.Context) net.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr
	}
	return nil
}

func text(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}
