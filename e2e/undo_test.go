package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// straight asks until the shares are those of weights.
func straight(l *harness.Loader) error {
	tally := l.Run(50, 2)
	if err := fine(tally); err != nil {
		return err
	}
	if tally.Percent("v1") < 70 {
		return fmt.Errorf("v1 gets %.0f%%", tally.Percent("v1"))
	}
	return nil
}

// TestUndo: an edit is taken back on both proxies, without a failed request; it stays so through another edit and a killed
// control plane, and the files are not touched; when the document is changed again, or the undo lifted, the files hold.
func TestUndo(t *testing.T) {
	p := startPair(t)
	everywhere := func(what string, check func(*harness.Loader) error) {
		t.Helper()
		for _, kind := range harness.Kinds {
			harness.Eventually(t, p.cp.Process, kind+" "+what, func() error { return check(p.loader(t, kind, 2)) })
		}
	}
	told := func(args []string, want ...string) {
		t.Helper()
		out := p.cp.Sluice(args...)
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%v: want %q in\n%s", args, w, out)
			}
		}
	}
	p.edit(t, weights, turnedWeights)
	everywhere("has the edit", turned)
	told([]string{"history"}, "start", "~Route/split", "+Gateway/go")

	told([]string{"undo", "--dry-run"}, "~ Route/split", "2 resources of 2 fleets for 2 connected proxies", "Nothing was changed")
	everywhere("has the edit still", turned)
	before := p.stage.Text(t, "split.yaml")
	stops := map[string]func() harness.Tally{}
	for _, kind := range harness.Kinds {
		stops[kind] = p.loader(t, kind, 2).Background(2)
	}
	told([]string{"undo"}, "Revision 1 is served again, as revision 3", "~ VHDS go/http/split.example.com")
	everywhere("has the undo", straight)
	for kind, stop := range stops {
		if err := fine(stop()); err != nil {
			t.Errorf("%s: during the undo: %v", kind, err)
		}
	}
	if p.stage.Text(t, "split.yaml") != before {
		t.Error("the files were written")
	}
	told([]string{"status"}, "warning SL0607: Route/split: undone at")
	told([]string{"get", "routes"}, "Route/split  earlier version")
	told([]string{"history"}, "undo to 1, by 127.0.0.1:", "Route/split: the version of revision 1 is served")
	told([]string{"plan", "-f", p.stage.Dir, "--exit-code"}, "No changes", "SL0607")

	// Another document's edit, and a control plane that is killed, leave it as it is.
	p.stage.Put(t, "more.yaml", "{kind: Service, name: more, endpoints: [127.0.0.1:1]}\n")
	harness.Eventually(t, p.cp.Process, "the other edit is served", func() error {
		return contains(p.cp.Sluice("get", "services"), []string{"Service/more"})
	})
	p.cp.Kill()
	p.cp.Launch()
	p.cp.WaitReady()
	for _, kind := range harness.Kinds {
		p.cp.WaitSynced(kind, 1)
	}
	everywhere("has the undo after a restart", straight)
	told([]string{"history"}, "+Service/more", "Route/split: the version of revision 1 is served")
	info, err := os.Stat(filepath.Join(p.cp.State, "revisions.jsonl"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("revisions.jsonl: got %v, %v", info, err)
	}

	// It holds from the moment that it is answered.
	told([]string{"undo", "--lift"})
	told([]string{"undo"})
	p.cp.Kill()
	p.cp.Launch()
	p.cp.WaitReady()
	told([]string{"history"}, "Route/split: the version of revision 4 is served")
	for _, kind := range harness.Kinds {
		p.cp.WaitSynced(kind, 1)
	}

	told([]string{"undo", "--lift"}, "The files are served as they stand")
	everywhere("has the files again", turned)
	told([]string{"undo", "--to", "1"}, "Revision 1 is served again", "- Service/more")
	everywhere("has the first revision", straight)
	p.edit(t, turnedWeights, "{service: v1, weight: 11}, {service: v2, weight: 89}")
	everywhere("has what was edited since", turned)

	for _, test := range []struct {
		code int
		args []string
		want string
	}{
		{1, []string{"undo", "--to", "99"}, "got revision 99, want one from 1 to"},
		{1, []string{"history", "99"}, "got revision 99"},
		{2, []string{"undo", "--to", "x"}, "want a number"},
		{2, []string{"undo", "--to", "1", "--lift"}, "want one of --to and --lift"},
		{2, []string{"history", "0"}, "want a number from 1"},
	} {
		if r := harness.Run(t, sluice(t), append(test.args, "--server", p.cp.Addr)...); r.Code != test.code || !strings.Contains(r.Stderr, test.want) {
			t.Errorf("%v: exit code %d, want %d and %q: %s", test.args, r.Code, test.code, test.want, r.Stderr)
		}
	}
}
