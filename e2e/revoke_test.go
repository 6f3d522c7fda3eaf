package e2e

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestRevoke: both kinds of proxy are locked out at once, serve on with what they have, and stay out when the control plane
// has crashed; a token for its id brings one back, into the same folder, while it runs.
func TestRevoke(t *testing.T) {
	j := startAuthority(t)
	sluice := filepath.Join(harness.Binaries(t), "sluice")
	connected := func(kind, id string, want bool) {
		t.Helper()
		harness.Eventually(t, j.Process, kind+"/"+id, func() error {
			if p, known := j.proxies()[kind+"/"+id]; p.connected != want || want && !known {
				return errors.New("not as it should be")
			}
			return nil
		})
	}
	dirs, proxies := map[string]string{}, map[string]*harness.Proxy{}
	for _, kind := range harness.Kinds {
		dirs[kind], proxies[kind] = j.start(kind, kind, "lost")
		j.start(kind, kind, "kept")
		connected(kind, "lost", true)
		connected(kind, "kept", true)
	}
	if r := harness.Run(t, sluice, append(j.as("viewer.token", "revoke", harness.Go+"/lost"), "--server", j.Addr)...); r.Code != 1 || !strings.Contains(r.Stderr, "may only read") {
		t.Errorf("a viewer: exit code %d, %s", r.Code, r.Stderr)
	}
	renewed := func(kind string) harness.Result {
		return harness.Run(t, sluice, "bootstrap", "--renew", "--force", "--dir", dirs[kind])
	}
	for _, kind := range harness.Kinds {
		if got := j.Sluice(j.as("admin.token", "revoke", kind+"/lost")...); !strings.Contains(got, "was revoked: 1 connections ended") {
			t.Errorf("%s: %s", kind, got)
		}
		connected(kind, "lost", false)
		proxies[kind].WaitLog("was revoked")
		if r := renewed(kind); r.Code != 1 || !strings.Contains(r.Stderr, "was revoked: want another join token") {
			t.Errorf("%s: renew: exit code %d, %s%s", kind, r.Code, r.Stdout, r.Stderr)
		}
	}

	j.Kill()
	j.Launch()
	j.WaitReady()
	j.pair.edit(t, weights, turnedWeights)
	for _, kind := range harness.Kinds {
		connected(kind, "kept", true)
		connected(kind, "lost", false)
		if r := renewed(kind); r.Code != 1 || !strings.Contains(r.Stderr, "was revoked") {
			t.Errorf("%s: renew after a crash: exit code %d, %s%s", kind, r.Code, r.Stdout, r.Stderr)
		}
		if _, err := harness.Get("http://" + proxies[kind].Admin + "/ready"); err != nil {
			t.Errorf("%s: who is locked out serves no more: %v", kind, err)
		}
	}
	for _, kind := range harness.Kinds {
		r := harness.Run(t, sluice, "bootstrap", "--server", j.Addr, "--admin", proxies[kind].Admin, "--dir", dirs[kind],
			"--token", j.token("--fleet", kind, "--id", "lost"))
		if r.Code != 0 {
			t.Fatal(r.Stderr)
		}
		connected(kind, "lost", true)
		j.Sluice(j.as("viewer.token", "wait", "--fleet", kind, "--at-least", "2")...)
		if r := renewed(kind); r.Code != 0 {
			t.Errorf("%s: renew, after it has joined again: %s", kind, r.Stderr)
		}
	}
	if list := j.Sluice(j.as("viewer.token", "revoke", "--list")...); strings.Count(list, "yes") != len(harness.Kinds) {
		t.Errorf("revoke --list: %s", list)
	}
	j.hidden("the log of the control plane", j.Log())
}
