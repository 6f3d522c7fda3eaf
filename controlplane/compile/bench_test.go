package compile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/definition"
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
