package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const helloWorld = `kind: Service
name: hello
hosts: [hello.localhost]
endpoints: [127.0.0.1:3000]
---
kind: Test
name: hello
request: {url: "http://hello.localhost:8080/x"}
expect: {service: hello}
`

// The commands that read and explain definitions: what a person types, and what comes out.
func TestDefinitionCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good/hello.yaml", helloWorld)
	bad := write("bad/hello.yaml", strings.Replace(helloWorld, "endpoints", "endpoint", 1))
	failing := write("failing/hello.yaml", strings.Replace(helloWorld, "{service: hello}", "{service: other}", 1))
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, args, stdin string
		code              int
		out, err          string // parts of the outputs
	}{
		{"fine", "validate -f " + good, "", 0, "2 documents in 1 file, 1 test: all fine\n", ""},
		{"folder", "validate -f " + dir + "/good", "", 0, "2 documents in 1 file, 1 test: all fine\n", ""},
		{"stdin", "validate -f -", helloWorld, 0, "2 documents in 1 file, 1 test: all fine\n", ""},
		{"unknown field", "validate -f " + bad, "", 1, bad + ":4:1: Service/hello: endpoint: got an unknown field", ""},
		{"failing test", "validate -f " + failing, "", 1, failing + ":9:19: Test/hello: expect.service: got Route/hello#any", ""},
		{"github", "validate -o github -f " + bad, "", 1, "::error file=" + bad + ",line=4,col=1,title=SL0107::Service/hello: endpoint:", ""},
		{"sarif", "validate -o sarif -f " + bad, "", 1, `"ruleId": "SL0107"`, ""},
		{"no such file", "validate -f " + dir + "/none.yaml", "", 1, "none.yaml: cannot be read", ""},
		{"empty folder", "validate -f " + dir + "/empty", "", 1, "", "got no files"},
		{"unknown format", "validate -o xml -f " + good, "", 2, "", "want one of text, github, sarif, json"},
		{"no -f", "validate", "", 2, "", "want -f"},
		{"expand", "expand -f " + good, "", 0, "kind: Route\nname: hello\ngateways: [default]\nhosts: [hello.localhost]\n", ""},
		{"expand shows what is built in", "expand -f " + good, "", 0, "# built-in:2:7\nkind: Gateway\nname: default\n", ""},
		{"expand goes on", "expand -f " + bad, "", 1, "kind: Test\n", "endpoint: got an unknown field"},
		{"an error has no echo", "validate -f -", helloWorld + "---\n{kind: Route, name: r, rule: [{backends: [{service: idle}]}]}\n---\n{kind: Service, name: idle, endpoints: [127.0.0.1:1]}\n", 1, "4 documents in 1 file, 1 test: 1 error\n", ""},
		{"explain names copies", "explain -f ../../examples/next-version http://localhost:8080/", "", 0, "  copies      10% to Service/next", ""},
		{"explain a header that names the Service", "explain -f ../../examples/next-version http://localhost:8080/ -H x-version:next", "", 0, "rule        Route/shop#chosen", ""},
		{"docs", "docs", "", 0, "  Certificate  A Certificate is", ""},
		{"docs of a field", "docs Route.rules.timeout", "", 0, "Route.rules.timeout: duration, default the Route's\n", ""},
		{"docs of no field", "docs Route.rules.timeot", "", 1, "", "did you mean timeout?"},
		{"docs as YAML", "docs Route.rules.timeout -o yaml", "", 0, "type: duration\n", ""},
		{"schema", "schema", "", 0, `"$schema": "https://json-schema.org/draft/2020-12/schema"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := execute(t.Context(), strings.Fields(c.args), strings.NewReader(c.stdin), &stdout, &stderr)
			if code != c.code || !strings.Contains(stdout.String(), c.out) || !strings.Contains(stderr.String(), c.err) {
				t.Errorf("sluice %s: got exit code %d, want %d\n%s%s\nwant %q and %q", c.args, code, c.code, &stdout, &stderr, c.out, c.err)
			}
		})
	}
	t.Run("json", func(t *testing.T) {
		var stdout, stderr bytes.Buffer
		execute(t.Context(), []string{"validate", "-o", "json", "-f", bad}, nil, &stdout, &stderr)
		var got struct {
			Documents, Errors int
			Problems          []struct {
				Code, Kind, Name, Field string
				Line                    int
			}
		}
		if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Documents != 2 || got.Errors < 1 || got.Problems[0].Code != "SL0107" || got.Problems[0].Line != 4 {
			t.Errorf("got %+v", got)
		}
	})
}
