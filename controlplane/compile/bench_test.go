package compile

import (
	"fmt"
	"strings"
	"testing"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// BenchmarkCompile measures a build of 5,000 published Services, 1,000 Routes with a host in common among them.
func BenchmarkCompile(b *testing.B) {
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, "---\n{kind: Service, name: s%d, hosts: [s%d.example.com], endpoints: [10.0.0.1:%d]}\n", i, i, i+1)
	}
	for i := range 1000 {
		fmt.Fprintf(&text, "---\nkind: Route\nname: r%d\nhosts: [shop.example.com]\nrules: [{match: {path: {prefix: /r%d}}, backends: [{service: s%d}]}]\n", i, i, i)
	}
	documents, problems := definition.Parse("a.yaml", []byte(text.String()))
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	chain, key := pair(b, inAnHour(), "localhost")
	b.ReportAllocs()
	for b.Loop() {
		out := Compile(Input{Documents: documents, Certificates: func(*definition.Document) ([]byte, []byte, error) { return chain, key, nil }})
		if len(out.Problems) > 0 {
			b.Fatal(out.Problems[0])
		}
	}
}

// BenchmarkWarnings looks for rules that never match among many of one path that differ by a header, the worst case:
// twice as many rules must take twice the time, not four times.
func BenchmarkWarnings(b *testing.B) {
	for name, match := range map[string]string{
		"exact":  `{headers: [{name: a, exact: "%d"}, {name: b, exact: "1"}]}`,
		"prefix": `{headers: [{name: a, prefix: "%d-"}]}`,
		"regex":  `{path: {regex: "/%d/[a-z]+"}}`,
		"path":   `{path: {prefix: "/a/b/%d"}}`,
	} {
		for _, n := range []int{10_000, 20_000} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				var rules []ir.Rule
				var from []origin
				var places []place
				routes := []*route{{msg: &sluicev1.Route{Name: "a"}}, {msg: &sluicev1.Route{Name: "b"}}}
				for i := range n {
					documents, problems := definition.Parse("a.yaml", []byte("{kind: Route, name: a, rules: [{match: "+fmt.Sprintf(match, i)+", backends: [{service: s}]}]}"))
					if len(problems) > 0 {
						b.Fatal(problems)
					}
					m := documents[0].Message.(*sluicev1.Route).GetRules()[0].GetMatch()
					rules = append(rules, ir.Rule{Match: expandMatch(m)[0]})
					from, places = append(from, origin{routes[i*2/n], i}), append(places, place{i * 2 / n, i})
				}
				for b.Loop() {
					judge(rules, from, places)
				}
			})
		}
	}
}
