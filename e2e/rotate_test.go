package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestRotateAuthority replaces the authority's key under both kinds of proxy, which only renew their certificates, and under
// traffic, with a crash of the control plane in between: none is cut off, and in the end nobody knows the old root.
func TestRotateAuthority(t *testing.T) {
	j := startAuthority(t, "--cert-lifetime", "10s")
	sluice := filepath.Join(harness.Binaries(t), "sluice")
	dirs := map[string]string{}
	for _, kind := range harness.Kinds {
		dirs[kind], _ = j.start(kind, kind, "one")
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() { // the timer
			defer close(ended)
			for {
				if r := harness.Run(t, sluice, "bootstrap", "--renew", "--dir", dirs[kind]); r.Code != 0 && !strings.Contains(r.Stderr, "no control plane answers") {
					t.Errorf("%s: renew: exit code %d, %s", kind, r.Code, r.Stderr)
				}
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Millisecond):
				}
			}
		}()
		t.Cleanup(func() { close(stop); <-ended })
	}
	loads := map[string]func() harness.Tally{}
	for _, kind := range harness.Kinds {
		loads[kind] = j.pair.loader(t, kind, 1).Background(1)
	}
	show := func() string { return j.Sluice(j.as("viewer.token", "ca", "show")...) }
	before := strings.Fields(show())[1]

	if r := harness.Run(t, sluice, append(j.as("viewer.token", "ca", "rotate"), "--server", j.Addr)...); r.Code != 1 || !strings.Contains(r.Stderr, "may only read") {
		t.Errorf("a viewer: exit code %d, %s", r.Code, r.Stderr)
	}
	if got := j.Sluice(j.as("admin.token", "ca", "rotate")...); !strings.Contains(got, "trusted") || !strings.Contains(got, " signs\n") {
		t.Errorf("ca rotate: %s", got)
	}
	until := func(what string, done func(text string) bool) {
		t.Helper()
		harness.Eventually(t, j.Process, what, func() error {
			if text := show(); !done(text) {
				return errors.New(text)
			}
			return nil
		})
	}
	connected := func(since time.Time) {
		t.Helper()
		harness.Eventually(t, j.Process, "connected by a later certificate", func() error {
			all := j.proxies()
			for _, kind := range harness.Kinds {
				if p := all[kind+"/one"]; !p.connected || p.at.Before(since.Add(-time.Second)) {
					return fmt.Errorf("%s: %+v", kind, p)
				}
			}
			return nil
		})
	}
	until("the new key signs", func(text string) bool { return strings.Contains(text, "the old root is trusted no more") })
	until("the old root is gone", func(text string) bool { return !strings.Contains(text, before) && !strings.Contains(text, "from ") })
	connected(time.Now())
	j.Kill()
	j.Launch()
	j.WaitReady()
	connected(time.Now())
	j.pair.edit(t, weights, turnedWeights)
	for _, kind := range harness.Kinds {
		j.Sluice(j.as("viewer.token", "wait", "--fleet", kind)...)
		if _, r := j.join(j.token("--fleet", kind, "--id", "new")); r.Code != 0 {
			t.Errorf("%s: join by the new root: %s", kind, r.Stderr)
		}
	}
	for kind, stop := range loads {
		tally := stop()
		if err := fine(tally); err != nil || tally.Requests == 0 {
			t.Errorf("%s: %d requests: %v", kind, tally.Requests, err)
		}
	}
	j.hidden("the log of the control plane", j.Log())
}
