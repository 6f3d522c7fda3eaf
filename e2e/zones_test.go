package e2e

import (
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestZonesExample: two zones share the requests two to one, the spare gets none; and a zone of weight 0 is out of use.
func TestZonesExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			e := loadExample(t, "zones")
			// The built-in Gateway has fixed ports: the test brings one of its own.
			e.Put(t, "gateway.yaml", "kind: Gateway\nname: default\nlisteners: [{name: http, address: 127.0.0.1, port: "+strconv.Itoa(e.port(t, "8080"))+", protocol: HTTP}]\n")
			for number, name := range map[string]string{"9001": "a1", "9002": "a2", "9003": "b", "9004": "spare"} {
				e.demo(t, name, number)
			}
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			tally := func() map[string]int {
				got := map[string]int{}
				for range 60 {
					a := e.get(t, "http", "shop.localhost", "8080", "/")
					got[a.Get("x-upstream")]++
				}
				return got
			}
			got := tally()
			for name, want := range map[string]int{"a1": 20, "a2": 20, "b": 20, "spare": 0} {
				if diff := got[name] - want; diff < -3 || diff > 3 {
					t.Errorf("%s: got %d of 60, want about %d", name, got[name], want)
				}
			}
			e.Put(t, "zones.yaml", strings.Replace(e.Text(t, "zones.yaml"), "eu-1a: 2", "eu-1a: 0", 1))
			harness.Eventually(t, cp.Process, "only b", func() error {
				if got := tally(); got["b"] != 60 {
					return errNotYet
				}
				return nil
			})
		})
	}
}
