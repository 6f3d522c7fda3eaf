package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// planned is another folder with the definitions of a pair, in which text is replaced.
func (p *pair) planned(t *testing.T, replace ...string) string {
	t.Helper()
	dir := t.TempDir()
	text := strings.NewReplacer(replace...).Replace(p.stage.Text(t, "split.yaml"))
	if err := os.WriteFile(filepath.Join(dir, "split.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPlan: what would change is told with the proxies that get it, and nothing changes; and when it does, what is pushed is
// what was told.
func TestPlan(t *testing.T) {
	p := startPair(t)
	run := func(want int, args ...string) string {
		t.Helper()
		r := harness.Run(t, sluice(t), append(args, "--server", p.cp.Addr)...)
		if r.Code != want {
			t.Fatalf("%v: exit code %d, want %d: %s%s", args, r.Code, want, r.Stdout, r.Stderr)
		}
		return r.Stdout
	}
	check := func(out string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("want %q in\n%s", w, out)
			}
		}
	}
	check(run(0, "plan", "-f", p.stage.Dir, "--exit-code"), "No changes: 5 documents")
	check(run(0, "diff", "-f", p.planned(t), "--exit-code"), "No changes") // the same elsewhere

	dir := p.planned(t, weights, turnedWeights)
	check(run(3, "plan", "-f", dir, "--exit-code"), "~ Route/split  ("+dir+"/split.yaml:12)", "-    backends: [{service: v1, weight: 90}",
		"fleet envoy: envoy-1 (envoy 1.40", "fleet sluice-proxy: sluice-proxy-1 (sluice-proxy", "~ VHDS go/http/split.example.com", "~ VHDS envoy/http/split.example.com",
		"@@ routes > - Route/split#all", "weight: 90", "2 resources of 2 fleets for 2 connected proxies")
	run(0, "plan", "-f", dir) // without --exit-code a change is no fault
	if out := run(3, "plan", "-f", dir, "--exit-code", "--summary"); strings.Contains(out, "@@") {
		t.Errorf("--summary: got a difference in\n%s", out)
	}
	var answer struct {
		Documents []struct{ Document, Change, File, Diff string }
		Unchanged int
		Fleets    []struct {
			Fleet     string
			Resources []struct{ Type, Name, Change, Served, Planned string }
			Proxies   []struct{ ID string }
		}
	}
	if err := json.Unmarshal([]byte(run(3, "plan", "-f", dir, "--exit-code", "-o", "json")), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Documents) != 1 || answer.Documents[0].Change != "changed" || answer.Unchanged != 4 || len(answer.Fleets) != 2 || len(answer.Fleets[0].Proxies) != 1 {
		t.Fatalf("-o json: got %+v", answer)
	}
	for _, kind := range harness.Kinds {
		if err := fine(p.loader(t, kind, 1).Run(20, 1)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}

	// What was told comes true.
	before := map[string]map[string]int{}
	for _, kind := range harness.Kinds {
		before[kind] = p.proxies[kind].AllUpdates()
	}
	p.edit(t, weights, turnedWeights)
	for _, kind := range harness.Kinds {
		harness.Eventually(t, p.cp.Process, kind+" has the edit", func() error { return turned(p.loader(t, kind, 2)) })
		for short, n := range p.proxies[kind].AllUpdates() {
			if more := n - before[kind][short]; (more > 0) != strings.EqualFold(short, "VHDS") {
				t.Errorf("%s: %d updates of %s, and the plan had VHDS alone", kind, more, short)
			}
		}
	}
	check(run(0, "plan", "-f", dir, "--exit-code"), "No changes")

	// Errors are those of validate, with the same places.
	bad := p.planned(t, "endpoints: [", "colour: red\nendpoints: [")
	out := run(1, "plan", "-f", bad, "--exit-code")
	validated := harness.Run(t, sluice(t), "validate", "-f", bad)
	for line := range strings.SplitSeq(validated.Stdout, "\n") {
		if strings.Contains(line, "colour") {
			check(out, line)
		}
	}
	check(out, "split.yaml:21:1: Service/v1: colour", "[SL0107] (served in its place: last good version)")
	for _, args := range [][]string{{"plan"}, {"plan", "-f", dir, "-o", "xml"}, {"plan", "-f", dir, "extra"}} {
		run(2, args...)
	}
	run(1, "plan", "-f", filepath.Join(dir, "nothing"))
	if r := harness.Run(t, sluice(t), "plan", "-f", dir, "--server", "127.0.0.1:1"); r.Code != 1 || !strings.Contains(r.Stderr, "no control plane answers") {
		t.Errorf("without a control plane: exit code %d, %s", r.Code, r.Stderr)
	}
}
