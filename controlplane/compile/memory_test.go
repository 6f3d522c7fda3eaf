package compile

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// TestMemory: whatever was compiled before, the output is the same as without a memory of it. The documents of all golden
// files come, go and take each other's names at random.
func TestMemory(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) < 3 {
		t.Fatal("no golden files", err)
	}
	var files [][]*definition.Document
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if strings.HasSuffix(f.Name, ".yaml") {
				documents, _ := definition.Parse(f.Name, f.Data)
				files = append(files, documents)
			}
		}
	}
	for _, text := range []string{
		"{kind: Service, name: a, hosts: [a.test], endpoints: [10.0.0.1:80], tls: {insecureSkipVerify: true}}",
		"{kind: Service, name: a, hosts: [a.test], endpoints: [10.0.0.2:80], tls: {insecureSkipVerify: true}}",
		"kind: Service\nname: a\nhosts: [a.test]\nendpoints:\n" + heavy(),
	} {
		documents, found := definition.Parse("x.yaml", []byte(text))
		if len(found) > 0 {
			t.Fatal(found[0])
		}
		files = append(files, documents, documents)
	}
	in, memory := Input{Certificates: selfSigned(t), Now: time.Now()}, &Memory{}
	open := []int{0, 1, 2}
	problems, clusters := 0, 0
	for range 1500 {
		if rand.IntN(3) == 0 {
			open[rand.IntN(len(open))] = rand.IntN(len(files))
		}
		byRef := map[definition.Ref]*definition.Document{}
		for _, n := range rand.Perm(len(open)) {
			for _, d := range files[open[n]] {
				if rand.IntN(12) > 0 {
					byRef[d.Ref] = d
				}
			}
		}
		in.Documents = slices.Collect(maps.Values(byRef))
		in.Memory = nil
		want := Compile(in)
		in.Memory = memory
		got := Compile(in)
		if !same(got, want) {
			t.Fatalf("got another output with a memory (+) than without (-):\n%s%s", cmp.Diff(render(want.Fleets)+renderProblems(want.Problems), render(got.Fleets)+renderProblems(got.Problems)),
				cmp.Diff(want.Origins(), got.Origins()))
		}
		problems += len(got.Problems)
		for _, f := range got.Fleets {
			clusters += len(f.Clusters)
		}
	}
	t.Logf("%d problems, %d clusters", problems, clusters)
}

// heavy are endpoints whose weights together are more than Envoy takes.
func heavy() string {
	var b strings.Builder
	for i := range 4300 {
		fmt.Fprintf(&b, "- {address: 10.0.0.1:%d, weight: 1000000}\n", i+1)
	}
	return b.String()
}

// TestMemoryKeeps: an edit leaves all else the very same, the Route that an edited Service stands for, too; and what was
// forgotten is made again.
func TestMemoryKeeps(t *testing.T) {
	const text = `{kind: Gateway, name: default, listeners: [{name: http, port: 80, protocol: HTTP}, {name: moved, port: 81, protocol: HTTP, redirect: {scheme: https}}]}
---
{kind: Service, name: a, hosts: [a.test], endpoints: [10.0.0.1:PORT]}
---
{kind: Service, name: b, hosts: [b.test], endpoints: [10.0.0.1:80], tls: {insecureSkipVerify: true}}
---
{kind: Route, name: r, hosts: [r.test, r2.test], rules: [{backends: [{service: c}]}]}
---
{kind: Service, name: c, endpoints: [10.0.0.1:PORT]}
`
	memory, parsed := &Memory{}, (*definition.Parsed)(nil)
	build := func(port string) *Output {
		parsed = definition.Reparse("a.yaml", []byte("# "+strings.Repeat("line\n# ", len(memory.routes))+"\n---\n"+strings.ReplaceAll(text, "PORT", port)), parsed)
		out := Compile(Input{Documents: parsed.Documents, Certificates: selfSigned(t), Now: time.Now(), Memory: memory})
		if len(out.Fleets) != 1 || len(out.Fleets[0].Clusters) != 3 || len(out.Fleets[0].RouteTables) != 2 {
			t.Fatalf("got %s%s", render(out.Fleets), renderProblems(out.Problems))
		}
		return out
	}
	first, second := build("1").Fleets[0], build("2").Fleets[0]
	for i, c := range first.Clusters {
		if same := c == second.Clusters[i]; same != (c.Name == "b") {
			t.Errorf("cluster %s: got the same %v", c.Name, same)
		}
	}
	for i, table := range first.RouteTables {
		if table != second.RouteTables[i] {
			t.Errorf("table %s: got another", table.Name)
		}
	}
	if got := len(memory.services) + len(memory.routes) + len(memory.rules) + len(memory.tables); got != 3+3+3+2 {
		t.Errorf("got a memory of %d things, want those of now", got)
	}
	documents, _ := definition.Parse("a.yaml", []byte("{kind: Service, name: a, hosts: [a.test], endpoints: [10.0.0.1:1]}"))
	Compile(Input{Documents: documents, Certificates: selfSigned(t), Now: time.Now(), Memory: memory})
	if got := fmt.Sprint(len(memory.services), len(memory.routes), len(memory.rules), len(memory.tables)); got != "1 1 1 2" { // the built-in Gateway has two
		t.Errorf("got a memory of %s things, want those of the one document that is left", got)
	}
}
