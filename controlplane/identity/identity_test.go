package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net/url"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sluice-proxy/sluice/xds/server"
)

func with(t *testing.T, uris, names []string) context.Context {
	t.Helper()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		leaf.URIs = append(leaf.URIs, parsed)
	}
	return peer.NewContext(context.Background(), &peer.Peer{AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}}})
}

func TestAuthorize(t *testing.T) {
	for _, c := range []struct {
		name        string
		uris, names []string
		fleet, id   string
		proxy       codes.Code
		admin       codes.Code
	}{
		{"by URI", []string{"spiffe://x/fleet/edge/proxy/one"}, nil, "edge", "one", codes.OK, codes.PermissionDenied},
		{"by one of several", []string{"spiffe://x/other", "spiffe://x/fleet/edge/proxy/one"}, nil, "edge", "one", codes.OK, codes.PermissionDenied},
		{"by DNS name", nil, []string{"One.edge"}, "edge", "one", codes.OK, codes.PermissionDenied},
		{"another id", []string{"spiffe://x/fleet/edge/proxy/two"}, []string{"two.edge"}, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"another fleet", []string{"spiffe://x/fleet/core/proxy/one"}, []string{"one.core"}, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"a longer path", []string{"spiffe://x/fleet/edge/proxy/one/more"}, nil, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"a slash in the id", []string{"spiffe://x/fleet/edge/proxy/one/more"}, nil, "edge", "one/more", codes.PermissionDenied, codes.PermissionDenied},
		{"a dot in the fleet", nil, []string{"a.b.c"}, "b.c", "a", codes.PermissionDenied, codes.PermissionDenied},
		{"another scheme", []string{"https://x/fleet/edge/proxy/one", "https://x/admin"}, nil, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"a wildcard is no name", nil, []string{"*.edge"}, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"a slash that is encoded", []string{"spiffe://x/fleet%2Fedge/proxy/one", "spiffe://x/%61dmin"}, nil, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"a user", []string{"spiffe://u@x/fleet/edge/proxy/one", "spiffe://u@x/admin"}, nil, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"a port", []string{"spiffe://x:1/fleet/edge/proxy/one", "spiffe://x:1/admin"}, nil, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"a query", []string{"spiffe://x/fleet/edge/proxy/one?", "spiffe://x/admin?a"}, nil, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"nothing", nil, nil, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
		{"an operator by URI", []string{"spiffe://x/admin/jane"}, nil, "edge", "one", codes.PermissionDenied, codes.OK},
		{"an operator by name", nil, []string{"admin"}, "edge", "one", codes.PermissionDenied, codes.OK},
		{"almost an operator", []string{"spiffe://x/administrator"}, []string{"admin.edge"}, "edge", "one", codes.PermissionDenied, codes.PermissionDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := with(t, c.uris, c.names)
			guard := &Guard{Mutual: true, Logger: slog.New(slog.DiscardHandler)}
			if err := guard.AuthorizeProxy(ctx, server.Node{ID: c.id, Cluster: c.fleet}); status.Code(err) != c.proxy {
				t.Errorf("as a proxy: got %v, want %s", err, c.proxy)
			}
			if err := guard.authorize(ctx, "/sluice.admin.v1.IdentityService/CreateToken"); status.Code(err) != c.admin {
				t.Errorf("as an operator: got %v, want %s", err, c.admin)
			}
		})
	}
	if err := (&Guard{Mutual: true}).AuthorizeProxy(context.Background(), server.Node{ID: "one", Cluster: "edge"}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a certificate: got %v, want unauthenticated", err)
	}
}
