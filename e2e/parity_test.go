// Package e2e tests the whole on real processes: control plane, Go proxy, stock Envoy and upstreams on loopback.
package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestParity runs each scenario of testdata on both kinds of proxy, and compares what came of it with the expectation
// and between the two.
func TestParity(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d scenarios (%v), want at least 20", len(files), err)
	}
	table := parityTable{}
	// When all have ended.
	t.Cleanup(func() { t.Logf("%s", table.String()) })
	for _, file := range files {
		scenario, err := harness.ReadScenario(file)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Run(scenario.Name, func(t *testing.T) {
			t.Parallel()
			table.add(scenario, runScenario(t, scenario))
		})
	}
}

// parityTable is what came of each scenario on each kind of proxy, for `make parity`.
type parityTable struct {
	mu   sync.Mutex
	rows []string
}

func (p *parityTable) add(s *harness.Scenario, wrong map[string]int) {
	row := fmt.Sprintf("%-28s %9d", s.Name, len(s.Exchanges))
	for _, kind := range harness.Kinds {
		word := "ok"
		if n := wrong[kind]; n > 0 {
			word = fmt.Sprintf("%d wrong", n)
		}
		row += fmt.Sprintf(" %14s", word)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rows = append(p.rows, row)
}

func (p *parityTable) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.rows)
	head := fmt.Sprintf("%-28s %9s", "scenario", "exchanges")
	for _, kind := range harness.Kinds {
		head += fmt.Sprintf(" %14s", kind)
	}
	return fmt.Sprintf("%s\n%s\n%d scenarios", head, strings.Join(p.rows, "\n"), len(p.rows))
}

// TestParityStateOfTheWorld runs some of the scenarios with state-of-the-world xDS in place of delta.
func TestParityStateOfTheWorld(t *testing.T) {
	for _, name := range []string{"paths", "https", "weights"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario, err := harness.ReadScenario("testdata/" + name + ".txtar")
			if err != nil {
				t.Fatal(err)
			}
			runScenario(t, scenario, "--sotw")
		})
	}
}

// runScenario returns how many exchanges went wrong with each kind of proxy; where the two differ, both did.
func runScenario(t *testing.T, scenario *harness.Scenario, bootstrapArgs ...string) map[string]int {
	bad := map[string]int{}
	// One control plane a proxy: the definitions are the same but for the ports, and so have the same names.
	stages := make([]*harness.Stage, len(harness.Kinds))
	for i, kind := range harness.Kinds {
		stages[i] = harness.NewStage(t, scenario.Files)
		cp := harness.StartControlPlane(t, stages[i].Dir)
		proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind, bootstrapArgs...)
		proxy.WaitReady()
		cp.WaitSynced("default", 1)
	}
	play := func(e *harness.Exchange) (outcomes []*harness.Outcome, problems [][]string) {
		outcomes, problems = make([]*harness.Outcome, len(stages)), make([][]string, len(stages))
		var wg sync.WaitGroup
		for i, stage := range stages {
			wg.Go(func() {
				outcomes[i] = stage.Await(t, e, harness.Kinds[i])
				problems[i] = outcomes[i].Check(e, harness.Kinds[i])
			})
		}
		wg.Wait()
		return outcomes, problems
	}
	for _, e := range scenario.Exchanges {
		outcomes, problems := play(e)
		if surer := e.Surer(); surer != nil && slices.ContainsFunc(problems, func(p []string) bool { return len(p) > 0 }) {
			t.Logf("%s: again with %d requests, for chance may have done this: %q", e.Label, surer.Times, problems)
			e = surer
			outcomes, problems = play(e)
		}
		var wrong []string
		for i, kind := range harness.Kinds {
			for _, w := range problems[i] {
				wrong = append(wrong, kind+": "+w)
			}
			bad[kind] += min(1, len(problems[i]))
		}
		for i := 1; i < len(outcomes); i++ {
			differences := harness.Compare(e, harness.Kinds[0], outcomes[0], harness.Kinds[i], outcomes[i])
			if len(wrong) == 0 && len(differences) > 0 {
				bad[harness.Kinds[0]]++
				bad[harness.Kinds[i]]++
			}
			wrong = append(wrong, differences...)
		}
		if len(wrong) > 0 {
			t.Errorf("testdata/%s.txtar:%d: %s\n%s %s\n\t%s", scenario.Name, e.Line, e.Label,
				e.Request.Method, e.Request.Path, strings.Join(wrong, "\n\t"))
		}
	}
	return bad
}
