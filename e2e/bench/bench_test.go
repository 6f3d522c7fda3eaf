package bench

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

var (
	rowsFlag   = flag.String("rows", "", "rows to measure, by comma, h1-* for all that begin so, all for all; empty measures nothing")
	peersFlag  = flag.String("peers", strings.Join(PeerNames[1:], ","), "peers, by comma")
	roundsFlag = flag.Int("rounds", 8, "rounds of each row")
	pgoFlag    = flag.String("pgo", "", "write a CPU profile of sluice-proxy under mixed load to this file, and measure nothing")
	writeFlag  = flag.Bool("write", false, "write RESULTS.md")
)

func TestMain(m *testing.M) {
	if role := os.Getenv("SLUICE_BENCH_ROLE"); role != "" {
		fmt.Fprintln(os.Stderr, Role(role, os.Args[1:]))
		os.Exit(1)
	}
	flag.Parse()
	if (*rowsFlag != "" || *pgoFlag != "") && os.Getenv(cpusVariable) == "" {
		if err := again(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
	os.Exit(harness.Main(m))
}

// cpusVariable keeps which CPUs there were before this program was bound to one of them.
const cpusVariable = "SLUICE_BENCH_CPUS"

// again starts this program again, bound to the second CPU from its first instruction on, so that its runtime and its
// children believe in one CPU.
func again() error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return err
	}
	var cpus []string
	for i := range 1024 {
		if set.IsSet(i) {
			cpus = append(cpus, strconv.Itoa(i))
		}
	}
	if len(cpus) < 2 {
		return fmt.Errorf("got %d CPU, want two: one for the proxies, one for load and origin", len(cpus))
	}
	second, err := strconv.Atoi(cpus[1])
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	set.Zero()
	set.Set(second)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	// Neighbours on this machine disturb less who goes first; all that is measured inherits it alike. It needs root.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -15)
	return syscall.Exec(os.Args[0], os.Args, append(os.Environ(), cpusVariable+"="+strings.Join(cpus, ",")))
}

func pinned(t *testing.T) CPUs {
	var numbers []int
	for word := range strings.SplitSeq(os.Getenv(cpusVariable), ",") {
		n, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, n)
	}
	return CPUs{Proxy: numbers[0], Load: numbers[1], Origin: numbers[len(numbers)-1]}
}

// TestBench measures, if it is told what: make bench. It is no part of make test.
func TestBench(t *testing.T) {
	if *rowsFlag == "" {
		t.Skip("nothing to measure: see make bench")
	}
	names, versions, missing := Find(t, append([]string{Ours}, strings.Split(*peersFlag, ",")...))
	for _, line := range missing {
		fmt.Println(line)
	}
	o := Options{Peers: names, Rounds: *roundsFlag, Log: func(format string, args ...any) { fmt.Printf(format, args...) }}
	if *rowsFlag != "all" {
		o.Rows = strings.Split(*rowsFlag, ",")
	}
	machine := Machine(versions)
	fmt.Printf("%s\n%s", machine, Header())
	results := Run(t, o, NewEnv(t, pinned(t)))
	if len(results) == 0 {
		t.Fatalf("no row is called %s: the rows are %s", *rowsFlag, RowNames())
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

// TestProfile collects the profile for profile-guided builds: make pgo. It is no part of make test.
func TestProfile(t *testing.T) {
	if *pgoFlag == "" {
		t.Skip("nothing to profile: see make pgo")
	}
	if err := NewEnv(t, pinned(t)).Profile(t, *pgoFlag); err != nil {
		t.Fatal(err)
	}
}

// TestMerge: a run of some rows replaces these, and leaves what others and people have written.
func TestMerge(t *testing.T) {
	result := func(name string, ours, theirs float64) *Result {
		return &Result{Row: &Row{Name: name, Title: "title of " + name}, Rounds: map[string][]Figures{
			Ours: {{"cpu": ours}, {"cpu": ours * 3}}, "nginx": {{"cpu": theirs}, {"cpu": theirs}},
		}}
	}
	text := Merge("# Results\n\n## First light\nseen\n", "machine one", []*Result{result("h1-64", 1, 2), result("h1-8", 5, 5)})
	text = Merge(text+"\n## Later\nmore\n", "machine two", []*Result{result("h1-64", 3, 2)})
	for _, want := range []string{
		"# Results\n\n## First light\nseen\n", "\n## Later\nmore\n", "machine two",
		"| title of h1-8 (`h1-8`) | µs CPU/request | 10.0 | 5.00 · **2.00** (1.00–3.00) |", "(`h1-64`) | µs CPU/request | 6.00 | 2.00 · **3.00** (1.50–4.50) |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "machine one") || strings.Count(text, "(`h1-64`)") != 1 || strings.Index(text, "(`h1-8`)") > strings.Index(text, "(`h1-64`)") {
		t.Errorf("a row or the machine is there twice, or rows are out of order:\n%s", text)
	}
}
