package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestMutualTLS: with mTLS a proxy gets its own fleet's configuration, and a certificate for another fleet or id gets
// nothing; neither does who has none.
func TestMutualTLS(t *testing.T) {
	authority := harness.NewAuthority(t)
	dir := t.TempDir()
	keys := harness.Stage{Dir: dir}
	put := func(name, cert, key string) []string {
		keys.Put(t, name+".crt", cert)
		keys.Put(t, name+".key", key)
		return []string{"--ca", filepath.Join(dir, "ca.crt"), "--cert", filepath.Join(dir, name+".crt"), "--key", filepath.Join(dir, name+".key")}
	}
	keys.Put(t, "ca.crt", authority.PEM)
	cert, key := authority.Server(t)
	put("server", cert, key)
	stage := harness.NewStage(t, []txtar.File{{Name: "split.yaml", Data: []byte(splitDefinitions)}})
	cp := harness.StartControlPlane(t, stage.Dir, "--tls-cert", filepath.Join(dir, "server.crt"),
		"--tls-key", filepath.Join(dir, "server.key"), "--client-ca", filepath.Join(dir, "ca.crt"))

	cert, key = authority.Client(t, "spiffe://example.com/admin/e2e")
	admin := put("admin", cert, key)
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			cert, key := authority.Client(t, "spiffe://example.com/fleet/"+kind+"/proxy/one")
			own := put(kind, cert, key)
			proxy := harness.StartProxy(t, kind, cp.Addr, kind, "one", own...)
			proxy.WaitReady()
			cp.Sluice(append([]string{"wait", "--fleet", kind}, admin...)...)
			if text := cp.Sluice(append([]string{"status", "--fleet", kind}, admin...)...); !strings.Contains(text, "SYNCED") {
				t.Errorf("status: %s", text)
			}

			// The same certificate, for another id: refused, in words that the proxy logs.
			thief := harness.StartProxy(t, kind, cp.Addr, kind, "two", own...)
			thief.WaitLog(`(?i)permission ?denied|the client's certificate is for`)
			if strings.Contains(thief.AdminGet("/config_dump"), "split.example.com") {
				t.Error("it got the fleet's configuration with another proxy's certificate")
			}
		})
	}
	// Without a certificate there is no answer at all.
	r := harness.Run(t, filepath.Join(harness.Binaries(t), "sluice"), "status", "--server", cp.Addr, "--ca", filepath.Join(dir, "ca.crt"))
	if r.Code != 1 || r.Stderr == "" {
		t.Errorf("status without a certificate: exit code %d, %s", r.Code, r.Stderr)
	}
	// And a proxy's certificate is not an operator's.
	r = harness.Run(t, filepath.Join(harness.Binaries(t), "sluice"), append([]string{"status", "--server", cp.Addr},
		"--ca", filepath.Join(dir, "ca.crt"), "--cert", filepath.Join(dir, harness.Kinds[0]+".crt"), "--key", filepath.Join(dir, harness.Kinds[0]+".key"))...)
	if r.Code != 1 || !strings.Contains(r.Stderr, "want the URI") {
		t.Errorf("status with a proxy's certificate: exit code %d, %s", r.Code, r.Stderr)
	}
}
