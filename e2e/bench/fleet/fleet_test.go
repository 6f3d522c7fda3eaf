package fleet

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

var (
	casesFlag   = flag.String("cases", "", "cases to measure, by comma, such as delta-500x5000; all for all; empty measures nothing")
	peersFlag   = flag.String("peers", strings.Join(Systems[1:], ","), "peers, by comma")
	roundsFlag  = flag.Int("rounds", 3, "rounds of each case")
	timesFlag   = flag.Int("times", 0, "how often each edit is made in a round; 0 is the case's own")
	settleFlag  = flag.Duration("settle", 5*time.Second, "how long memory is left alone before it counts as steady")
	growthFlag  = flag.Duration("growth", 5*time.Minute, "how long edits go on at most where memory is looked at")
	editsFlag   = flag.Int("edits", 100_000, "how many edits there are to be where memory is looked at")
	profileFlag = flag.String("profiles", "", "a folder for CPU profiles of our control plane")
	writeFlag   = flag.Bool("write", false, "write RESULTS.md")
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestBench measures, if it is told what: make bench-controlplane. It is no part of make test.
func TestBench(t *testing.T) {
	if *casesFlag == "" {
		t.Skip("nothing to measure: see make bench-controlplane")
	}
	if *writeFlag && *profileFlag != "" {
		t.Fatal("got -write with -profiles: what is profiled is not the real control plane")
	}
	names := strings.Split(*casesFlag, ",")
	if *casesFlag == "all" {
		names = All
	}
	systems := []string{Ours}
	for _, name := range strings.Split(*peersFlag, ",") {
		if slices.Contains(Systems[1:], name) {
			systems = append(systems, name)
		} else if name != "" {
			t.Fatalf("got the peer %q, want some of %v", name, Systems[1:])
		}
	}
	// Neighbours on this machine disturb less who goes first; all that is measured inherits it alike. It needs root.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -15)
	o := Options{
		Settle: *settleFlag, Growth: *growthFlag, Edits: *editsFlag, Times: *timesFlag, Profiles: *profileFlag,
		Log: func(format string, args ...any) { fmt.Printf(format, args...) },
	}
	machine := Machine(*settleFlag)
	fmt.Println(machine)
	var results []*Result
	for _, name := range names {
		c, err := ParseCase(name)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, Run(t, c, systems, *roundsFlag, o))
		fmt.Print(header(), results[len(results)-1].Text())
	}
	if !*writeFlag {
		return
	}
	path := filepath.Join(harness.Root(t), "e2e", "bench", "RESULTS.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(Merge(string(old), machine, results)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestFleet: five proxies of each protocol follow twenty services on every system. Nothing is timed: all have to get
// there, and on ours with no route before its cluster.
func TestFleet(t *testing.T) {
	for _, name := range []string{"delta-5x20", "sotw-5x20"} {
		for _, system := range Systems {
			t.Run(name+"/"+system, func(t *testing.T) {
				c, err := ParseCase(name)
				if err != nil {
					t.Fatal(err)
				}
				all := *c.Kind
				all.edits = []string{oneEndpoint, oneRoute, newService, oneEndpoint}
				c.Kind = &all
				f := Measure(t, c, system, Options{})
				if broken := f["service/broken"]; system == Ours && broken != 0 {
					t.Errorf("got %v streams with a route before its cluster or endpoints, want none", broken)
				}
				for _, kind := range append(all.edits, "sync") {
					if f[kind+"/responses"] < 1 || f[kind+"/kb"] <= 0 || f[kind+"/cpu"] <= 0 {
						t.Errorf("%s: got %v, want responses, bytes and CPU", kind, f)
					}
				}
				if got, want := f["sync/responses"], 4.0; system == Ours && c.Kind.delta && got < want {
					t.Errorf("got %v responses until in sync, want one of each type at least", got)
				}
			})
		}
	}
}

// TestMerge: a run of some cases replaces these, and leaves what others and people have written.
func TestMerge(t *testing.T) {
	result := func(name string, ours, theirs float64) *Result {
		c, err := ParseCase(name)
		if err != nil {
			t.Fatal(err)
		}
		return &Result{Case: c, Rounds: map[string][]Figures{
			Ours: {{"sync/s": ours}, {"sync/s": ours * 3}}, SnapshotCache: {{"sync/s": theirs}, {"sync/s": theirs}},
		}}
	}
	text := Merge("# Results\n\n## First light\nseen\n", "machine one", []*Result{result("delta-5x20", 1, 2), result("sotw-5x20", 5, 5)})
	text = Merge(text+"\n## Later\nmore\n", "machine two", []*Result{result("delta-5x20", 3, 2)})
	for _, want := range []string{
		"# Results\n\n## First light\nseen\n", "\n## Later\nmore\n", "machine two",
		"(`sotw-5x20`) | s | 10.0 | 5.00 · **2.00** (1.00–3.00) | – |", "(`delta-5x20`) | s | 6.00 | 2.00 · **3.00** (1.50–4.50) | – |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "machine one") || strings.Count(text, "(`delta-5x20`)") != 1 {
		t.Errorf("a case or the machine is there twice:\n%s", text)
	}
}

func TestParseCase(t *testing.T) {
	for name, good := range map[string]bool{"delta-500x5000": true, "save-1x1": true, "delta-0x5": false, "grpc-5x5": false, "delta-5": false, "": false} {
		if _, err := ParseCase(name); (err == nil) != good {
			t.Errorf("%q: got the error %v, want one: %v", name, err, !good)
		}
	}
	for _, name := range All {
		if _, err := ParseCase(name); err != nil {
			t.Error(err)
		}
	}
}
