// Package join is a proxy's side of its identity: it makes a key, gets a certificate for it, and keeps both in a folder
// from which a proxy of either kind starts.
//
// In: a join token, or what an earlier call has left in the folder. Out: the files bootstrap.yaml, identity.json and
// trust.json. The key is made here, and never leaves the folder. It must not know how certificates are made.
package join

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/identity/authority"
	"github.com/sluice-proxy/sluice/controlplane/identity/secretfile"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

// The files in the folder.
const (
	BootstrapFile = "bootstrap.yaml"
	identityFile  = "identity.json"
	trustFile     = "trust.json"
)

// Options of Enroll.
type Options struct {
	// Token is the join token.
	Token string
	// Dir is the folder; it is made if it is not there.
	Dir string
	// Bootstrap is what else the proxy is told. Its Fleet and ID may be empty where the token says them.
	Bootstrap bootstrap.Options
}

// Identity is who a proxy is, and until when.
type Identity struct {
	Fleet, ID string
	Expires   time.Time
	// Renew is when it should be renewed: at about half its life.
	Renew time.Time
}

// Enroll joins a fleet, and writes the files. A token that was spent stays spent if it fails after that, which is why
// all that can be looked at is looked at before.
func Enroll(ctx context.Context, o Options) (*Identity, error) {
	token, err := authority.ParseToken(o.Token)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir) // the bootstrap file must mean the same wherever the proxy is started
	if err != nil {
		return nil, err
	}
	o.Bootstrap.IdentityFile, o.Bootstrap.TrustFile = filepath.Join(dir, identityFile), filepath.Join(dir, trustFile)
	try := o.Bootstrap
	try.Fleet, try.ID = "fleet", "id"
	if _, err := bootstrap.Write(try); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := secretfile.Probe(dir); err != nil {
		return nil, err
	}
	key, csr, err := request()
	if err != nil {
		return nil, err
	}
	conn, err := dial(o.Bootstrap.Server, pinned(token.Root, o.Bootstrap.Server))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	response, err := adminv1.NewIdentityServiceClient(conn).Enroll(ctx, &adminv1.EnrollRequest{
		Token: token.Text(), Fleet: o.Bootstrap.Fleet, Id: o.Bootstrap.ID, Csr: csr,
	})
	if err != nil {
		return nil, told(o.Bootstrap.Server, err)
	}
	roots, err := certificates(response.GetIssued().GetRoots())
	if err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	if !contains(roots, token.Root) {
		return nil, errors.New("the control plane's roots do not have the one in the token among them")
	}
	o.Bootstrap.Fleet, o.Bootstrap.ID = response.GetFleet(), response.GetId()
	identity, err := judge(response.GetIssued(), key, o.Bootstrap.Fleet, o.Bootstrap.ID)
	if err != nil {
		return nil, err
	}
	text, err := bootstrap.Write(o.Bootstrap)
	if err != nil {
		return nil, err
	}
	if err := keep(dir, response.GetIssued(), key); err != nil {
		return nil, err
	}
	return identity, secretfile.Write(filepath.Join(dir, BootstrapFile), text)
}

// request makes a key, and a PKCS #10 request that says nothing but that.
func request() (key *ecdsa.PrivateKey, csr []byte, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	return key, csr, err
}

// pinned trusts the one root of a fingerprint, which the control plane shows with its chain, and wants the control
// plane's name as any client would.
func pinned(root [sha256.Size]byte, server string) *tls.Config {
	host, _, _ := net.SplitHostPort(server) // bootstrap.Write has looked at it
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: host,
		// The chain is verified below: its root is not known before.
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it
	}
	config.VerifyConnection = func(state tls.ConnectionState) error {
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		found := false
		for _, c := range state.PeerCertificates {
			if sha256.Sum256(c.Raw) == root {
				roots.AddCert(c)
				found = true
			} else {
				between.AddCert(c)
			}
		}
		if !found {
			return errors.New("its certificate is not of the authority that the join token names: it is another control plane, or somebody in between; the token was not sent")
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between})
		return err
	}
	return config
}

func dial(server string, config *tls.Config) (*grpc.ClientConn, error) {
	config.NextProtos = []string{"h2"}
	return grpc.NewClient("passthrough:///"+server, grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithDisableServiceConfig())
}

// told words what a call came to.
func told(server string, err error) error {
	s, _ := status.FromError(err)
	switch s.Code() {
	case codes.Unimplemented:
		return fmt.Errorf("%s gives no certificates: want a control plane with --trust-domain", server)
	case codes.Unavailable:
		return fmt.Errorf("%s: no control plane answers, or not this one: %s", server, s.Message())
	}
	return fmt.Errorf("%s: %s", server, s.Message())
}

// judge looks at what was given before anything is written: it must be for our key, in our name, and of those roots.
func judge(issued *adminv1.Issued, key *ecdsa.PrivateKey, fleet, id string) (*Identity, error) {
	chain, err := certificates(issued.GetChain())
	if err != nil {
		return nil, fmt.Errorf("chain: %w", err)
	}
	all, err := certificates(issued.GetRoots())
	if err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range all {
		roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf := chain[0]
	if public, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, errors.New("the certificate is for another key")
	}
	if len(leaf.URIs) != 1 || leaf.URIs[0].Path != "/fleet/"+fleet+"/proxy/"+id {
		return nil, fmt.Errorf("the certificate is for %v, want proxy %s of fleet %s", leaf.URIs, id, fleet)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		return nil, fmt.Errorf("the certificate that came: %w", err)
	}
	return identityOf(leaf, fleet, id), nil
}

// identityOf knows when to renew: at half its life, a tenth of it sooner or later. Which, the serial number decides,
// so that a fleet that joined together does not come back together.
func identityOf(leaf *x509.Certificate, fleet, id string) *Identity {
	life := leaf.NotAfter.Sub(leaf.NotBefore.Add(authority.ClockSkew))
	serial := leaf.SerialNumber.Bytes()
	share := 0.45
	if len(serial) > 0 {
		share += 0.1 * float64(serial[len(serial)-1]) / 256
	}
	return &Identity{Fleet: fleet, ID: id, Expires: leaf.NotAfter, Renew: leaf.NotAfter.Add(-time.Duration((1 - share) * float64(life)))}
}

// keep writes whom to trust, and then who we are: a proxy that reads in between loses nothing.
func keep(dir string, issued *adminv1.Issued, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	trust, err := bootstrap.Trust(issued.GetRoots())
	if err != nil {
		return err
	}
	identity, err := bootstrap.Identity(issued.GetChain(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil {
		return err
	}
	if err := secretfile.Write(filepath.Join(dir, trustFile), trust); err != nil {
		return err
	}
	return secretfile.Write(filepath.Join(dir, identityFile), identity)
}

// maxCertificates bounds a chain, and the roots.
const maxCertificates = 20

func certificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 || len(all) > maxCertificates {
		return nil, fmt.Errorf("got %d certificates, want 1 to %d", len(all), maxCertificates)
	}
	return all, nil
}

func contains(all []*x509.Certificate, root [sha256.Size]byte) bool {
	for _, c := range all {
		if sha256.Sum256(c.Raw) == root {
			return true
		}
	}
	return false
}
