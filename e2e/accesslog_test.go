package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestAccessLog: a request is a line on the proxy's standard output, unless its listener wants none.
func TestAccessLog(t *testing.T) {
	scenario, err := harness.ReadScenario("testdata/access-log.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			stage := harness.NewStage(t, scenario.Files)
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			// The quiet one first: lines are written in order.
			for _, port := range []string{"quiet", "logged"} {
				answer, err := http.Get("http://" + stage.Addr(t, "127.0.0.1", port) + "/was-" + port)
				if err != nil {
					t.Fatal(err)
				}
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Fatalf("%s: got %s, want 200", port, answer.Status)
				}
			}
			proxy.WaitLog(`"path":"/was-logged"`)
			if strings.Contains(proxy.Log(), "/was-quiet") {
				t.Errorf("the quiet listener's request is logged:\n%s", proxy.Log())
			}
		})
	}
}
