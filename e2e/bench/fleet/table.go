package fleet

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-proxy/sluice/e2e/bench/spread"
)

// metric is a kind of figure, as the table shows it.
type metric struct{ name, title, unit string }

// metrics are all, in the order of the table. Those of edits are made by metricsOf.
var metrics = append(append(append(append([]metric{
	{"sync/s", "all proxies connect → the last is in sync", "s"},
	{"sync/cpu", "all proxies connect", "s of server CPU"},
	{"sync/load", "all proxies connect", "s of the proxies' CPU"},
	{"sync/kb", "all proxies connect", "KB/stream"},
	{"sync/responses", "all proxies connect", "responses/stream"},
	{"base", "memory without proxies", "MiB"},
	{"peak", "memory while they connect, peak", "MiB"},
	{"steady", "memory with all in sync", "MiB"},
	{"peak/steady", "peak of that to steady", "×"},
	{"kib/proxy", "memory of a proxy, over the base", "KiB"},
}, metricsOf(oneEndpoint, "an endpoint")...), metricsOf(oneRoute, "one host's route")...), metricsOf(newService, "a new service")...),
	metric{"growth/edits", "edits", "edits"},
	metric{"growth/from", "edits until memory is first looked at", "edits"},
	metric{"growth/early", "memory then", "MiB"},
	metric{"growth/late", "memory at the end", "MiB"},
)

func metricsOf(kind, title string) []metric {
	all := []metric{
		{kind + "/s", title + ": change → the last ACK", "s"},
		{kind + "/beyond", title + ": save → the last ACK, beyond the hold-off", "ms"},
		{kind + "/cpu", title, "s of server CPU"},
		{kind + "/kb", title, "KB/stream"},
		{kind + "/responses", title, "responses/stream"},
	}
	if kind == newService {
		all = append(all, metric{kind + "/broken", title + ": streams with the route before its cluster or endpoints", "streams"})
	}
	return all
}

// Result is a case as it was measured.
type Result struct {
	Case *Case
	// Rounds are each system's figures.
	Rounds map[string][]Figures
}

func (r *Result) figures(system, metric string) []float64 {
	var all []float64
	for _, f := range r.Rounds[system] {
		if v, ok := f[metric]; ok {
			all = append(all, v)
		}
	}
	return all
}

// header is the table's head.
func header() string {
	return "| what | unit | " + strings.Join(Systems, " | ") + " | rounds, day |\n|---|---|" + strings.Repeat("---|", len(Systems)+1) + "\n"
}

// Text is the case's lines in the table, one for each metric that it has.
func (r *Result) Text() string {
	var b strings.Builder
	for _, m := range metrics {
		ours := r.figures(Ours, m.name)
		if ours == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s (`%s`) | %s |", m.title, r.Case.Name, m.unit)
		for _, s := range Systems {
			values := r.figures(s, m.name)
			switch {
			case values == nil:
				b.WriteString(" – |")
			case s == Ours:
				fmt.Fprintf(&b, " %s |", spread.Cell(values, nil))
			default:
				fmt.Fprintf(&b, " %s |", spread.Cell(values, spread.Ratios(ours, values)))
			}
		}
		fmt.Fprintf(&b, " %d, %s |\n", len(ours), time.Now().Format(time.DateOnly))
	}
	return b.String()
}

// section is the heading in RESULTS.md of what Merge writes.
const section = "## The control plane\n"

// Merge puts results into RESULTS.md: the cases that were measured are replaced, others and other sections stay.
func Merge(old, machine string, results []*Result) string {
	before, rest, found := strings.Cut(old, section)
	after := ""
	if found {
		if i := strings.Index(rest, "\n## "); i >= 0 {
			rest, after = rest[:i], rest[i:]
		}
	}
	lines := map[string]string{}
	var order []string
	for line := range strings.Lines(rest) {
		if m := rowPattern.FindStringSubmatch(line); m != nil {
			if lines[m[1]] == "" {
				order = append(order, m[1])
			}
			lines[m[1]] += line
		}
	}
	for _, r := range results {
		if lines[r.Case.Name] == "" {
			order = append(order, r.Case.Name)
		}
		lines[r.Case.Name] = r.Text()
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(before, "\n") + "\n\n" + section)
	b.WriteString("`make bench-controlplane`, or some cases with `make bench-controlplane CASES=delta-500x1000 ROUNDS=3`. " + machine + "\n")
	b.WriteString("A case's name has its proxies × services. A cell is a peer's median · **the median of the rounds' ratios ours/peer** (minimum–maximum): less than 1 is in our favour.\n")
	fmt.Fprintf(&b, "Ours is from the save of a file on, with a hold-off of %v in it; a peer's is from the call that changes its cache on.\n\n", HoldOff)
	b.WriteString(header())
	for _, name := range order {
		b.WriteString(lines[name])
	}
	return b.String() + after
}

var rowPattern = regexp.MustCompile("^\\| .* \\(`([^`]+)`\\) \\| ")

// Machine says where it is measured, how busy it is, and after how long memory is read.
func Machine(settle time.Duration) string {
	model := "an unknown CPU"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(text); m != nil {
			model = string(m[1])
		}
	}
	kernel := "Linux"
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		kernel += " " + unix.ByteSliceToString(name.Release[:])
	}
	return fmt.Sprintf("%s, %d CPUs, which servers and proxies share, %s, %s; go-control-plane 0.14.0; load average %s; memory is read %v after the event.",
		model, runtime.NumCPU(), kernel, runtime.Version(), loadAverage(), settle)
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	word, _, _ := strings.Cut(string(text), " ")
	return word
}
