package e2e

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestWaitForWhatIsRefused: a push that every proxy of a fleet refuses is not waited for in vain, nor taken for served while the
// quarantine looks for what it is.
func TestWaitForWhatIsRefused(t *testing.T) {
	p := startPair(t)
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			p.stage.Write(t, []txtar.File{{Name: "far.yaml", Data: fmt.Appendf(nil,
				"{kind: Gateway, name: far-%s, fleet: %s, listeners: [{name: http, address: 203.0.113.1, port: {{port \"far\"}}, protocol: HTTP}]}\n", kind, kind)}})
			r := harness.Run(t, sluice(t), "wait", "-f", p.stage.Dir, "--fleet", kind, "--timeout", "30s", "--server", p.cp.Addr)
			if r.Code != 1 || !strings.Contains(r.Stderr, "SL0701: Gateway/far-"+kind) || strings.Contains(r.Stderr, "not within") {
				t.Errorf("got exit code %d, want 1 and that it is refused:\n%s%s", r.Code, r.Stdout, r.Stderr)
			}
		})
	}
}
