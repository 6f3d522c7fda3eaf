// Package torture plays the corpus of dataplane/http1/testdata through the Go proxy, nginx, HAProxy and Envoy, each in front
// of the same raw origin, and writes down who gets what right: `make torture`.
//
// In: the corpus. Out: RESULTS.md, and a failure if the Go proxy gets a case wrong. It must not know the codec.
package torture

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/http1/http1test"
	"github.com/sluice-proxy/sluice/e2e/harness"
)

var results = flag.String("results", "", "file to write the results to; without it nothing is run (make torture)")

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// peer is one of the proxies.
type peer struct {
	name string
	// start starts it in front of an origin and waits until it serves; nil if it is not installed.
	start func(t *testing.T, origin string) *http1test.Proxy
	// version is a command that prints it.
	version []string
	// strict judges it by our own choices too.
	strict bool
}

// verdict is a case's: what is wrong, or "".
type verdict map[*http1test.Case]string

func TestTorture(t *testing.T) {
	if *results == "" {
		t.Skip("the same cases run through the Go proxy in dataplane/live; the peers: make torture")
	}
	var cases []*http1test.Case
	for _, dir := range []string{"requests", "answers"} {
		list, err := http1test.Load(filepath.Join(harness.Root(t), "dataplane/http1/testdata", dir))
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, list...)
	}
	var ran []peer
	verdicts := map[string]verdict{}
	for _, p := range peers(t) {
		if _, err := exec.LookPath(p.version[0]); err != nil {
			t.Logf("SKIPPED: %s is not installed (%v): apt-get install %s", p.name, err, p.name)
			continue
		}
		ran = append(ran, p)
		verdicts[p.name] = play(t, p, cases)
	}
	for _, c := range cases {
		if problem := verdicts[harness.Go][c]; problem != "" {
			t.Errorf("%s: %s", c.ID(), problem)
		}
	}
	text := report(t, ran, cases, verdicts)
	if err := os.WriteFile(*results, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(text, "\n## Where")
	fmt.Println(before)
}

func play(t *testing.T, p peer, cases []*http1test.Case) verdict {
	origin, err := http1test.NewOrigin()
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	proxy := p.start(t, origin.Addr)
	proxy.Origin = origin
	// Who waits for more where it should refuse is not waited for.
	proxy.Patience, proxy.Pause = 1500*time.Millisecond, 30*time.Millisecond
	if p.strict {
		proxy.Patience, proxy.Pause = 20*time.Second, 10*time.Second
	}
	harness.Eventually(t, nil, p.name, func() error {
		if problem := proxy.Afresh(); problem != "" {
			return fmt.Errorf("%s", problem)
		}
		return nil
	})
	v := verdict{}
	began := time.Now()
	defer func() { t.Logf("%s: %d cases in %v", p.name, len(v), time.Since(began).Round(time.Second)) }()
	for _, c := range cases {
		r, err := proxy.Play(c, false)
		if err != nil {
			t.Fatalf("%s: %s: %v", p.name, c.ID(), err)
		}
		v[c] = strings.Join(c.Judge(r, p.strict), "; ")
	}
	return v
}

func report(t *testing.T, ran []peer, cases []*http1test.Case, verdicts map[string]verdict) string {
	var b strings.Builder
	must := 0
	for _, c := range cases {
		if c.Must {
			must++
		}
	}
	fmt.Fprintf(&b, `# Torture

`+"`make torture`"+` plays the corpus (`+"`dataplane/http1/testdata`"+`: %d cases) from a raw client through each proxy to a raw origin.
%d cases are mandatory: the RFC leaves one outcome, or names the other (a line ignored, a trailer dropped), save for the status of
a refusal and for a connection that ends, which count as right. In the others (%d) the RFC leaves a choice, and ours is the stricter one: a proxy that differs there is not wrong, but two that
differ can be set against each other. The Go proxy is held to both, to the exact status, and to every field.

`, len(cases), must, len(cases)-must)
	for _, p := range ran {
		out, _ := exec.Command(p.version[0], p.version[1:]...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if p.strict {
			line = "this tree"
		}
		fmt.Fprintf(&b, "- %s: %s\n", p.name, strings.TrimSpace(regexp.MustCompile(`^\S*/`).ReplaceAllString(line, "")))
	}
	b.WriteString("\nMandatory cases that are right, and (choices that are the same as ours):\n\n| group | cases |")
	for _, p := range ran {
		fmt.Fprintf(&b, " %s |", p.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(ran)) + "\n")
	groups := []string{}
	for _, c := range cases {
		if !slices.Contains(groups, group(c)) {
			groups = append(groups, group(c))
		}
	}
	row := func(name string, in func(*http1test.Case) bool) {
		of := [2]int{}
		right := map[string]*[2]int{}
		for _, c := range cases {
			if !in(c) {
				continue
			}
			kind := 0
			if !c.Must {
				kind = 1
			}
			of[kind]++
			for _, p := range ran {
				if right[p.name] == nil {
					right[p.name] = &[2]int{}
				}
				if verdicts[p.name][c] == "" {
					right[p.name][kind]++
				}
			}
		}
		fmt.Fprintf(&b, "| %s | %d (%d) |", name, of[0], of[1])
		for _, p := range ran {
			fmt.Fprintf(&b, " %d (%d) |", right[p.name][0], right[p.name][1])
		}
		b.WriteString("\n")
	}
	for _, g := range groups {
		row(g, func(c *http1test.Case) bool { return group(c) == g })
	}
	row("**all**", func(*http1test.Case) bool { return true })
	for _, p := range ran {
		if p.strict {
			continue
		}
		for _, kind := range []bool{true, false} {
			title := "Where " + p.name + " is wrong in a mandatory case"
			if !kind {
				title = "Where " + p.name + " chooses otherwise"
			}
			fmt.Fprintf(&b, "\n## %s\n\n", title)
			none := true
			for _, c := range cases {
				if problem := verdicts[p.name][c]; c.Must == kind && problem != "" {
					none = false
					fmt.Fprintf(&b, "- %s/%s (RFC %s): %s\n", group(c), c.Name, c.RFC, tidy(problem))
				}
			}
			if none {
				b.WriteString("Nowhere.\n")
			}
		}
	}
	return b.String()
}

func group(c *http1test.Case) string {
	if c.IsAnswer {
		return "answers/" + c.Group
	}
	return "requests/" + c.Group
}

var changing = regexp.MustCompile(`( x-(forwarded|envoy|request)[a-z-]*=[^ "]*)|( (Date|Last-Modified|Content-Length|Server|Content-Type|Connection|Etag)=("[^"\\]*"|\\"[^"\\]*\\"|\S+))|127\.0\.0\.1:\d+->127\.0\.0\.1:\d+`)

// tidy makes a line of it that is the same in each run.
func tidy(problem string) string {
	problem = changing.ReplaceAllString(problem, "")
	if i := strings.Index(problem, "<html>"); i >= 0 {
		problem = problem[:i] + "…"
	}
	if len(problem) > 220 {
		problem = strings.ToValidUTF8(problem[:220], "") + "…"
	}
	return "`" + strings.ReplaceAll(problem, "`", "'") + "`"
}
