package join

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/identity/secretfile"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

// maxFile bounds what is read from the folder, in bytes.
const maxFile = 1 << 20

// errNotJoined is for a folder that Enroll has not filled.
var errNotJoined = errors.New("want a folder that 'sluice bootstrap --token' has filled")

// Read tells who a folder's proxy is.
func Read(dir string) (*Identity, error) {
	b, err := readBootstrap(dir)
	if err != nil {
		return nil, err
	}
	text, err := secretfile.Read(filepath.Join(dir, identityFile), maxFile)
	if err != nil {
		return nil, err
	}
	chain, _, err := bootstrap.ReadIdentity(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", identityFile, err)
	}
	all, err := certificates(chain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", identityFile, err)
	}
	return identityOf(all[0], b.Node.GetCluster(), b.Node.GetId()), nil
}

func readBootstrap(dir string) (*bootstrap.Bootstrap, error) {
	text, err := os.ReadFile(filepath.Join(dir, BootstrapFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotJoined, err)
	}
	b, err := bootstrap.Read(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", BootstrapFile, err)
	}
	if b.ADS == nil || b.ADS.Target.TLS == nil {
		return nil, fmt.Errorf("%s: %w", BootstrapFile, errNotJoined)
	}
	return b, nil
}

// Renew gets another certificate for another key if it is time, or if it is asked for anyhow, and puts both in the place
// of the old ones. A running proxy takes them up by itself. It tells whether it did.
func Renew(ctx context.Context, dir string, anyhow bool) (now *Identity, done bool, err error) {
	now, err = Read(dir)
	if err != nil {
		return nil, false, err
	}
	if at := time.Now(); at.After(now.Expires) {
		return nil, false, fmt.Errorf("the certificate of proxy %s of fleet %s expired at %s: want another join token, 'sluice token create --fleet %s --id %s', and 'sluice bootstrap --token'",
			now.ID, now.Fleet, now.Expires.UTC().Format(time.RFC3339), now.Fleet, now.ID)
	} else if at.Before(now.Renew) && !anyhow {
		return now, false, nil
	}
	if err := secretfile.Probe(dir); err != nil {
		return nil, false, err
	}
	b, err := readBootstrap(dir)
	if err != nil {
		return nil, false, err
	}
	key, csr, err := request()
	if err != nil {
		return nil, false, err
	}
	// The proxy's own way to the control plane, so what works here works there.
	config, err := b.ADS.Target.TLS()
	if err != nil {
		return nil, false, err
	}
	server := b.ADS.Target.Addresses[0].Address
	conn, err := dial(server, config)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	response, err := adminv1.NewIdentityServiceClient(conn).Renew(ctx, &adminv1.RenewRequest{Csr: csr})
	if err != nil {
		return nil, false, told(server, err)
	}
	fresh, err := judge(response.GetIssued(), key, now.Fleet, now.ID)
	if err != nil {
		return nil, false, err
	}
	return fresh, true, keep(dir, response.GetIssued(), key)
}
