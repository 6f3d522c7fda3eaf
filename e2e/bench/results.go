package bench

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// section is the heading in RESULTS.md of what Merge writes.
const section = "## Side by side\n"

// Machine says where and what is measured.
func Machine(versions map[string]string) string {
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
	var peers []string
	for _, p := range PeerNames {
		if v := versions[p]; v != "" && p != Ours {
			peers = append(peers, p+" "+v)
		}
	}
	cpus := strings.Count(os.Getenv("SLUICE_BENCH_CPUS"), ",") + 1
	return fmt.Sprintf("%s, %d CPUs, %s, %s; %s.", model, cpus, kernel, runtime.Version(), strings.Join(peers, ", "))
}

// Merge puts results into RESULTS.md: the rows that were measured are replaced, other rows and other sections stay.
func Merge(old, machine string, results []*Result) string {
	before, rest, found := strings.Cut(old, section)
	after := ""
	if found {
		if i := strings.Index(rest, "\n## "); i >= 0 {
			rest, after = rest[:i], rest[i:]
		}
	}
	lines := map[string]string{}
	for line := range strings.Lines(rest) {
		if m := rowPattern.FindStringSubmatch(line); m != nil {
			lines[m[1]] += line
		}
	}
	for _, r := range results {
		lines[r.Row.Name] = r.Text()
	}
	var b strings.Builder
	b.WriteString(strings.TrimRight(before, "\n") + "\n\n" + section)
	b.WriteString("`make bench`, or some rows with `make bench BENCH=h1-64,tls-*`. " + machine + "\n")
	b.WriteString("A cell is a peer's median · **the median of the rounds' ratios ours/peer** (minimum–maximum): less than 1 is in our favour.\n\n")
	b.WriteString(Header())
	rows := Rows()
	for i := range rows {
		b.WriteString(lines[rows[i].Name])
	}
	b.WriteString("\n")
	for i := range rows {
		for _, peer := range PeerNames {
			if why := rows[i].Lacks[peer]; why != "" {
				fmt.Fprintf(&b, "- `%s` without %s: %s.\n", rows[i].Name, peer, why)
			}
		}
	}
	b.WriteString(notes)
	return b.String() + after
}

// notes are what the table does not say.
const notes = `- The Go proxy and Envoy are configured by our control plane, with statistics on.
- nginx reaches HTTP/2 upstreams by grpc_pass, the only way that it has.
`

var rowPattern = regexp.MustCompile("^\\| .* \\(`([^`]+)`\\) \\| ")

// RowNames are all, for messages.
func RowNames() string {
	var names []string
	for _, r := range Rows() {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}
