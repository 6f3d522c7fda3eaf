package compile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// TestProduct multiplies hosts by rules: hosts share what they have in common, and what is beyond bounds is refused.
func TestProduct(t *testing.T) {
	for _, c := range []struct {
		name         string
		hosts, rules int
		onListener   bool // the hosts stand on the listener, and the Route is for any
		refused      bool
	}{
		{"much", 300, 300, false, false},
		{"too much", 500, 201, false, true},
		{"too much by the listener's hosts", 500, 201, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var hosts, rules strings.Builder
			for i := range c.hosts {
				fmt.Fprintf(&hosts, "h%d.x, ", i)
			}
			for i := range c.rules {
				fmt.Fprintf(&rules, "  - {match: {path: {exact: /%d}}, backends: [{service: a}]}\n", i)
			}
			list := "hosts: [" + strings.TrimSuffix(hosts.String(), ", ") + "]"
			listener, route := "", list+"\n"
			if c.onListener {
				listener, route = ", "+list, ""
			}
			documents, problems := definition.Parse("a", []byte("kind: Gateway\nname: web\nlisteners: [{name: http, port: 80, protocol: HTTP"+listener+"}]\n"+
				"---\n{kind: Service, name: a, endpoints: [127.0.0.1:1]}\n---\nkind: Route\nname: r\ngateways: [web]\n"+route+"rules:\n"+rules.String()))
			if len(problems) > 0 {
				t.Fatal(problems[0])
			}
			out := Compile(Input{Documents: documents})
			table := out.Fleets[0].RouteTables[0]
			if c.refused {
				if len(table.Hosts) > 0 || len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Message, "want at most 100000") {
					t.Errorf("got %d hosts and %v, want the Route refused", len(table.Hosts), out.Problems)
				}
				return
			}
			if len(out.Problems) > 0 || len(table.Hosts) != c.hosts {
				t.Fatalf("got %d hosts and %v, want %d", len(table.Hosts), out.Problems, c.hosts)
			}
			for _, h := range table.Hosts {
				if len(h.Rules) != c.rules || &h.Rules[0] != &table.Hosts[0].Rules[0] {
					t.Fatalf("host %s: got %d rules of its own, want %d that it shares", h.Host, len(h.Rules), c.rules)
				}
			}
		})
	}
}
