package e2e

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestRetryLog: the access log tells how often a request was sent, and in Envoy's flags why it was not sent again.
func TestRetryLog(t *testing.T) {
	const definitions = `kind: Gateway
name: web
listeners: [{name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}]
---
kind: Route
name: all
gateways: [web]
rules:
  - {match: {path: {prefix: /dead}}, retry: {conditions: [5xx], attempts: 2}, backends: [{service: dead}]}
  - {match: {path: {prefix: /slow}}, retry: {conditions: [5xx], perTryTimeout: 200ms}, backends: [{service: v1}]}
  - {match: {path: {prefix: /whole}}, timeout: 300ms, retry: {conditions: [5xx], attempts: 9, perTryTimeout: 200ms}, backends: [{service: v1}]}
  - {match: {path: {prefix: /never}}, backends: [{service: v1}]}
  - {match: {path: {prefix: /limited}}, retry: {conditions: [5xx]}, backends: [{service: limited}]}
  - {match: {path: {prefix: /own}}, respond: {status: 200}}
  - {retry: {conditions: [5xx]}, backends: [{service: v1}]}
---
{kind: Service, name: v1, endpoints: ["{{upstream "v1"}}"]}
---
{kind: Service, name: limited, circuitBreaker: {retries: 0}, endpoints: ["{{upstream "v1"}}"]}
---
{kind: Service, name: dead, endpoints: ["{{dead}}"]}
`
	tests := []struct {
		path     string
		header   []harness.Field
		method   string
		flags    string
		attempts int
	}{
		{path: "/well", flags: "-", attempts: 1},
		{path: "/never", header: echo("status: 503"), flags: "-", attempts: 1},
		{path: "/twice", header: echo("first: 1", "status: 503"), flags: "-", attempts: 2},
		{path: "/exhausted", header: echo("status: 503"), flags: "URX", attempts: 2},
		{path: "/post", header: echo("status: 503"), method: "POST", flags: "-", attempts: 1},
		{path: "/reset", header: echo("break: head"), flags: "URX,UC", attempts: 2},
		{path: "/no-http", header: echo("raw: SSH-2.0\\r\\n"), flags: "URX,UPE", attempts: 2},
		{path: "/dead", flags: "URX,UF", attempts: 3},
		{path: "/slow", header: echo("delay: 5s"), flags: "URX,UT", attempts: 2},
		{path: "/whole", header: echo("delay: 5s"), flags: "UT", attempts: 2},
		{path: "/limited", header: echo("status: 503"), flags: "UO", attempts: 1},
		{path: "/limited/reset", header: echo("break: head"), flags: "UO,UC", attempts: 1},
		{path: "/own", flags: "-", attempts: 0},
	}
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			stage := harness.NewStage(t, []txtar.File{{Name: "web.yaml", Data: []byte(definitions)}})
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			for _, tt := range tests {
				method := tt.method
				if method == "" {
					method = "GET"
				}
				harness.Do(&harness.Request{
					Method: method, Addr: stage.Addr(t, "127.0.0.1", "http"), Proto: "HTTP/1.1", Authority: "shop.example.com", Path: tt.path, Header: tt.header,
				}, false)
			}
			// Envoy writes every ten seconds.
			for _, tt := range tests {
				proxy.WaitLog(`"path":"` + tt.path + `"`)
			}
			type record struct {
				Path, Flags string
				Attempts    int
			}
			got := map[string]record{}
			for lines := bufio.NewScanner(strings.NewReader(proxy.Log())); lines.Scan(); {
				var r record
				if json.Unmarshal(lines.Bytes(), &r) == nil {
					got[r.Path] = r
				}
			}
			for _, tt := range tests {
				if want := (record{tt.path, tt.flags, tt.attempts}); got[tt.path] != want {
					t.Errorf("got %+v, want %+v", got[tt.path], want)
				}
			}
		})
	}
}

// echo asks an upstream for something.
func echo(what ...string) (fields []harness.Field) {
	for _, w := range what {
		name, value, _ := strings.Cut(w, ": ")
		fields = append(fields, harness.Field{Name: "x-echo-" + name, Value: value})
	}
	return fields
}
