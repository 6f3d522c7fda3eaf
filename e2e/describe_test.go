package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestDescribe: the documents of a running control plane, what they became, and which proxies run that.
func TestDescribe(t *testing.T) {
	p := startPair(t)
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"get"}, []string{"Gateway/envoy  served  envoy", "Route/split    served  envoy,sluice-proxy  0", "split.yaml:12"}},
		{[]string{"get", "services"}, []string{"Service/v1", "Service/v2"}},
		{[]string{"get", "certificates"}, []string{"(there is none)"}},
		{[]string{"get", "route", "-o", "json"}, []string{`"document": "Route/split"`, `"state": "served"`}},
		{[]string{"describe", "Route/split"}, []string{
			"Route/split: served, ", "rules:", "Fleet envoy:\n  envoy-1 (envoy 1.40", "runs it", "VHDS go/http/split.example.com, version", "name: Route/split#all", "weight: 90",
		}},
		{[]string{"describe", "service", "v1"}, []string{"Used by Route/split", "CDS v1", "EDS v1"}},
		{[]string{"describe", "gateway/go", "-o", "json"}, []string{`"type": "LDS"`, `"runs": true`}},
	} {
		out := p.cp.Sluice(test.args...)
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: want %q in\n%s", test.args, want, out)
			}
		}
	}
	for _, test := range []struct {
		code int
		args []string
		want string
	}{
		{1, []string{"describe", "service/split"}, "there is no Service/split, but Route/split"},
		{2, []string{"describe", "split"}, "want KIND/NAME"},
		{2, []string{"describe", "thing/split"}, "want one of Gateway, Route"},
		{2, []string{"get", "things"}, "want one of Gateway, Route"},
		{2, []string{"get", "route/split"}, "of one document 'sluice describe route/split' tells"},
	} {
		if r := harness.Run(t, sluice(t), append(test.args, "--server", p.cp.Addr)...); r.Code != test.code || !strings.Contains(r.Stderr, test.want) {
			t.Errorf("%v: exit code %d, want %d and %q: %s", test.args, r.Code, test.code, test.want, r.Stderr)
		}
	}

	// What is said to run is what runs.
	var described struct {
		Resources []struct{ Fleet string }
	}
	if err := json.Unmarshal([]byte(p.cp.Sluice("describe", "route/split", "-o", "json")), &described); err != nil {
		t.Fatal(err)
	}
	for _, r := range described.Resources {
		if dump := p.proxies[r.Fleet].AdminGet("/config_dump"); !strings.Contains(dump, "Route/split#all") {
			t.Errorf("%s: its dump has no such route", r.Fleet)
		}
	}

	// A document that goes bad is told as such, and what is served of it is shown.
	p.edit(t, "name: split\n", "name: split\ncolour: red\n")
	harness.Eventually(t, p.cp.Process, "the bad document is told", func() error {
		return contains(p.cp.Sluice("get", "routes"), []string{"Route/split  last good version"})
	})
	out := p.cp.Sluice("describe", "route/split")
	for _, want := range []string{"Route/split: last good version", "colour: got an unknown field", "runs it"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "colour: red") {
		t.Errorf("what is not served is shown:\n%s", out)
	}
}
