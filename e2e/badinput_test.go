package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestBadInput: each slip gives a message with file:line:col and a stable code, in `status` of a running control plane
// and in `validate`; and the rest is served, by both proxies.
func TestBadInput(t *testing.T) {
	p := startPair(t)
	loaders := map[string]*harness.Loader{}
	for _, kind := range harness.Kinds {
		loaders[kind] = p.loader(t, kind, 2)
	}
	const route = "kind: Route\nname: bad\ngateways: [go]\nhosts: [bad.example.com]\n"
	for _, test := range []struct {
		name, text string
		// want are the place, the code, the document, and words that the message has.
		want []string
	}{
		{
			"unknown field", route + "rules: [{backend: [{service: v1}]}]\n",
			[]string{"bad.yaml:5:", "SL0107", "Route/bad", "backend"},
		},
		{
			"wrong type", "kind: Route\nname: bad\nhosts: bad.example.com\nrules: [{backends: [{service: v1}]}]\n",
			[]string{"bad.yaml:3:8", "SL0103", "Route/bad", "hosts"},
		},
		{
			"no YAML", route + "rules: [{backends: [\n",
			[]string{"bad.yaml:", "SL0001"},
		},
		{
			"dangling reference", route + "rules: [{backends: [{service: nobody}]}]\n",
			[]string{"bad.yaml:5:31", "SL0201", "Route/bad", "rules[0].backends[0].service", "nobody"},
		},
		{
			"duplicate name", "kind: Service\nname: v1\nendpoints: [127.0.0.1:1]\n",
			[]string{"bad.yaml:2:7", "SL0301", "Service/v1", "split.yaml:"},
		},
		{
			"weights that sum to zero", route + "rules: [{backends: [{service: v1, weight: 0}]}]\n",
			[]string{"bad.yaml:5:", "SL0304", "Route/bad", "weight"},
		},
		{
			"port conflict", "kind: Gateway\nname: late\nfleet: envoy\nlisteners:\n  - {name: http, port: {{port \"envoy\"}}, protocol: HTTP}\n",
			[]string{"bad.yaml:5:", "SL0302", "Gateway/late", "split.yaml:"},
		},
		{
			"missing key file", "kind: Certificate\nname: bad\nfiles: {certificate: none.crt, privateKey: none.key}\n",
			[]string{"bad.yaml:3:", "SL0401", "Certificate/bad", "none.crt"},
		},
		{
			"key that does not match", "kind: Certificate\nname: bad\nfiles: {certificate: one.crt, privateKey: two.key}\n",
			[]string{"bad.yaml:3:", "SL0403", "Certificate/bad"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if strings.Contains(test.text, "one.crt") {
				for _, name := range []string{"one", "two"} {
					cert, key := harness.SelfSigned(t, "bad.example.com")
					p.stage.Put(t, name+".crt", cert)
					p.stage.Put(t, name+".key", key)
				}
			}
			p.stage.Write(t, []txtar.File{{Name: "bad.yaml", Data: []byte(test.text)}})
			harness.Eventually(t, p.cp.Process, "status tells", func() error { return contains(p.cp.Sluice("status"), test.want) })
			r := harness.Run(t, filepath.Join(harness.Binaries(t), "sluice"), "validate", "-f", p.stage.Dir)
			if err := contains(r.Stdout, test.want); r.Code != 1 || err != nil {
				t.Errorf("validate: exit code %d, %v", r.Code, err)
			}
			for kind, l := range loaders {
				if err := fine(l.Run(20, 1)); err != nil {
					t.Errorf("%s: the rest is not served: %v", kind, err)
				}
			}
		})
	}
	// And when it is mended, all is well.
	p.stage.Write(t, []txtar.File{{Name: "bad.yaml", Data: []byte("kind: Service\nname: bad\nendpoints: [127.0.0.1:1]\n")}})
	harness.Eventually(t, p.cp.Process, "status is clean", func() error {
		if text := p.cp.Sluice("status"); strings.Contains(text, "error SL") {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
}

// contains is an error if one line of a text does not have all words.
func contains(text string, words []string) error {
	for line := range strings.Lines(text) {
		missing := false
		for _, w := range words {
			missing = missing || !strings.Contains(line, w)
		}
		if !missing {
			return nil
		}
	}
	return fmt.Errorf("want a line with %q in\n%s", words, text)
}
