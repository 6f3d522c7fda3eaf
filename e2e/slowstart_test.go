package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestSlowStart: an endpoint that comes later gets its share little by little on both proxies. The window is long beside what
// an update takes, and short enough to wait for.
func TestSlowStart(t *testing.T) {
	t.Parallel()
	const window = 6 * time.Second
	const one = "endpoints: [\"{{upstream \"v1\"}}\"]\n"
	p := stagePairOf(t, strings.NewReplacer(
		weights, "{service: v1}",
		one, one+"loadBalancer: {roundRobin: {slowStart: {window: 6s}}}\n",
	).Replace(splitDefinitions))
	p.cp = harness.StartControlPlane(t, p.stage.Dir)
	p.startProxies(t, p.cp.Addr)
	p.waitReady(t)
	// Until then v1 is new itself.
	time.Sleep(window)
	v1 := `"` + p.stage.Upstreams["v1"].Addr + `"`
	p.edit(t, v1, v1+`, "`+p.stage.Upstreams["v2"].Addr+`"`)
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			loader := p.loader(t, kind, 1)
			var seen []float64
			harness.Eventually(t, p.proxies[kind].Process, "v2 has its share", func() error {
				tally := loader.Run(60, 1)
				if err := fine(tally); err != nil {
					return err
				}
				if share := tally.Percent("v2"); share > 0 {
					seen = append(seen, share)
				}
				if len(seen) == 0 || seen[len(seen)-1] < 48 {
					return errNotYet
				}
				return nil
			})
			t.Logf("v2's shares: %.0f", seen)
			if seen[0] > 40 {
				t.Errorf("v2 begins with %.0f %%, want a small share", seen[0])
			}
		})
	}
}
