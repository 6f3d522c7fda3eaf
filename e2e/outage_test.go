package e2e

import (
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestProxyFirst: a proxy that starts while the control plane is away has its configuration soon after it comes, however
// often it tried in vain.
func TestProxyFirst(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := stagePair(t)
			p.cp = harness.NewControlPlane(t, p.stage.Dir)
			closed := door(t, p.cp.Addr, 5)
			proxy := harness.StartProxy(t, kind, p.cp.Addr, kind, kind+"-1")
			tried := <-closed
			p.cp.Launch()
			p.cp.WaitReady()
			came := time.Now()
			l := p.loader(t, kind, 1)
			harness.Eventually(t, proxy.Process, kind+" serves", func() error { return fine(l.Run(1, 1)) })
			took := time.Since(came)
			t.Logf("%s: serves %v after the control plane came, having tried 5 times within %v (promised: 2s)", kind,
				took.Round(time.Millisecond), tried.Round(time.Millisecond))
			if took > limit {
				t.Errorf("%s: it took %v", kind, took)
			}
		})
	}
}

// door listens in the control plane's place and closes every connection, until a number of them came; then it closes,
// and tells how long that was.
func door(t *testing.T, addr string, visits int) <-chan time.Duration {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	start, done := time.Now(), make(chan time.Duration, 1)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for range visits {
			c, err := l.Accept()
			if err != nil {
				break
			}
			_ = c.Close()
		}
		_ = l.Close()
		done <- time.Since(start)
	}()
	return done
}

// TestControlPlaneRestart: the control plane is killed and started again under load. No request fails, an edit made
// meanwhile is live soon after, and nothing that did not change is sent again.
func TestControlPlaneRestart(t *testing.T) {
	p := startPair(t)
	stop, before := map[string]func() harness.Tally{}, map[string]map[string]int{}
	for _, kind := range harness.Kinds {
		stop[kind] = p.loader(t, kind, 4).Background(4)
		before[kind] = p.proxies[kind].AllUpdates()
	}
	p.cp.Kill()
	p.edit(t, weights, turnedWeights)
	p.cp.Launch()
	p.cp.WaitReady()
	came := time.Now()
	var wg sync.WaitGroup
	for _, kind := range harness.Kinds {
		wg.Go(func() {
			l := p.loader(t, kind, 2)
			harness.Eventually(t, p.proxies[kind].Process, kind+": new weights", func() error { return turned(l) })
			took := time.Since(came)
			t.Logf("%s: the edit is live %v after the control plane came (promised: 2s)", kind, took.Round(time.Millisecond))
			if took > limit {
				t.Errorf("%s: it took %v", kind, took)
			}
		})
	}
	wg.Wait()
	for _, kind := range harness.Kinds {
		p.cp.WaitSynced(kind, 1)
		tally := stop[kind]()
		t.Logf("%s: %d requests meanwhile, %d failed", kind, tally.Requests, tally.Failures)
		if tally.Failures > 0 || tally.Requests < 100 {
			t.Errorf("%s: failed requests: %v", kind, tally.Words)
		}
		want := maps.Clone(before[kind])
		want["VHDS"]++
		if got := p.proxies[kind].AllUpdates(); !maps.Equal(got, want) {
			t.Errorf("%s: updates by type: got %v, want %v: the edit's VHDS alone", kind, got, want)
		}
	}
}

// TestRestartWithBadDocument: a control plane that is started again over a document gone bad serves its last good
// version, also to proxies that have just come.
func TestRestartWithBadDocument(t *testing.T) {
	p := startPair(t)
	p.cp.Stop()
	p.edit(t, "hosts: [split.example.com]", "hosts: [split.example.com]\nnonsense: true")
	p.cp.Launch()
	p.cp.WaitReady()
	for _, kind := range harness.Kinds {
		p.proxies[kind].Stop()
		p.proxies[kind] = harness.StartProxy(t, kind, p.cp.Addr, kind, kind+"-2")
		p.proxies[kind].WaitReady()
		p.cp.WaitSynced(kind, 1)
		if err := fine(p.loader(t, kind, 1).Run(20, 1)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	status := p.cp.Sluice("status")
	for _, want := range []string{"split.yaml:", "SL0107", "Route/split", "nonsense", "last good version"} {
		if !strings.Contains(status, want) {
			t.Errorf("status: want %q in\n%s", want, status)
		}
	}
}

// TestEmptiedFolder: a folder that is empty for a moment, as in the middle of a checkout, does not wipe what is served.
func TestEmptiedFolder(t *testing.T) {
	p := startPair(t)
	builds := p.cp.Builds()
	path := p.stage.Dir + "/split.yaml"
	text := p.stage.Text(t, "split.yaml")
	stop := map[string]func() harness.Tally{}
	for _, kind := range harness.Kinds {
		stop[kind] = p.loader(t, kind, 2).Background(2)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	p.stage.Put(t, "split.yaml", strings.Replace(text, weights, turnedWeights, 1))
	for _, kind := range harness.Kinds {
		l := p.loader(t, kind, 2)
		harness.Eventually(t, p.proxies[kind].Process, kind+": new weights", func() error { return turned(l) })
		if tally := stop[kind](); tally.Failures > 0 {
			t.Errorf("%s: %d of %d requests failed: %v", kind, tally.Failures, tally.Requests, tally.Words)
		}
	}
	t.Logf("builds: %d", p.cp.Builds()-builds)
}
