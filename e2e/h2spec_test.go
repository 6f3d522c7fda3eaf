package e2e

import (
	"bytes"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const h2specDefinitions = `-- definitions.yaml --
kind: Gateway
name: web
listeners:
  - {name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}
---
{kind: Service, name: v1, hosts: ["*"], gateways: [web], endpoints: ["{{upstream "v1"}}"]}
`

// TestH2spec runs github.com/summerwind/h2spec, the conformance suite of RFC 7540 and 7541, against the HTTP/2 listener
// of each kind of proxy: what stock Envoy does right, the Go proxy does. `make h2spec` builds the suite and runs this.
func TestH2spec(t *testing.T) {
	suite := os.Getenv("SLUICE_H2SPEC")
	if suite == "" {
		t.Skip("SLUICE_H2SPEC does not name the suite's binary: make h2spec")
	}
	failed := map[string]map[string]string{}
	for _, kind := range harness.Kinds {
		stage := harness.NewStage(t, txtar.Parse([]byte(h2specDefinitions)).Files)
		cp := harness.StartControlPlane(t, stage.Dir)
		proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
		proxy.WaitReady()
		cp.WaitSynced("default", 1)
		total := 0
		failed[kind], total = h2spec(t, suite, stage.Ports["http"])
		t.Logf("%s: %d of %d passed", kind, total-len(failed[kind]), total)
		if total < 100 {
			t.Fatalf("h2spec ran %d cases, want at least 100", total)
		}
		for name, why := range failed[kind] {
			t.Logf("%s fails %s\n%s", kind, name, why)
		}
	}
	for name := range failed[harness.Go] {
		if _, too := failed[harness.Envoy][name]; !too {
			t.Errorf("the Go proxy fails %s, and Envoy does not", name)
		}
	}
}

// h2spec runs the suite against a port, and returns the cases that failed, with its words, and how many there were.
func h2spec(t *testing.T, suite string, port int) (failed map[string]string, total int) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	out, err := exec.Command(suite, "--strict", "-p", strconv.Itoa(port), "-j", report).CombinedOutput()
	data, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Fatalf("h2spec: %v, %v\n%s", err, readErr, out)
	}
	var result struct {
		Suites []struct {
			ID    string `xml:"package,attr"`
			Cases []struct {
				Name    string  `xml:"classname,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	// What a proxy sent is quoted as it was, with bytes that no XML holds.
	data = bytes.Map(func(c rune) rune {
		if c < ' ' && c != '\n' {
			return ' '
		}
		return c
	}, data)
	if err := xml.Unmarshal(data, &result); err != nil {
		t.Fatal(err)
	}
	failed = map[string]string{}
	for _, suite := range result.Suites {
		for _, c := range suite.Cases {
			total++
			if c.Failure != nil {
				failed[suite.ID+": "+c.Name] = *c.Failure
			}
			if c.Error != nil {
				failed[suite.ID+": "+c.Name] = *c.Error
			}
		}
	}
	return failed, total
}
