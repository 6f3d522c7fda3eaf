package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestAsk: status, wait and explain of a running control plane, in each format.
func TestAsk(t *testing.T) {
	p := startPair(t)
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"status"}, []string{"FLEET", "CDS", "SYNCED"}},
		{[]string{"status", "-o", "wide"}, []string{"SYNCED "}},
		{[]string{"status", "-o", "json"}, []string{`"state": "SYNCED"`}},
		{[]string{"status", "-o", "yaml"}, []string{"state: SYNCED"}},
		{[]string{"status", "--fleet", "nobody"}, []string{"no proxy of fleet nobody is connected"}},
		{[]string{"explain", "GET", "http://split.example.com/x"}, []string{"split.yaml:", "Route/split#all", "90% Service/v1"}},
		{[]string{"explain", "http://split.example.com/x", "-o", "json"}, []string{`"rule": "Route/split#all"`, `"percent": 90`}},
	} {
		out := p.cp.Sluice(test.args...)
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%v: want %q in\n%s", test.args, want, out)
			}
		}
	}
	var status struct {
		Proxies []struct{ ID, Fleet, Agent string }
	}
	if err := json.Unmarshal([]byte(p.cp.Sluice("status", "-o", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Proxies) != len(harness.Kinds) {
		t.Errorf("status: got %d proxies, want %d", len(status.Proxies), len(harness.Kinds))
	}
	for _, proxy := range status.Proxies {
		want := proxy.Fleet
		if want == harness.Envoy {
			want = "envoy 1.40"
		}
		if !strings.HasPrefix(proxy.Agent, want) {
			t.Errorf("status: agent %q of fleet %s", proxy.Agent, proxy.Fleet)
		}
	}
	for _, args := range [][]string{
		{"explain", "GET", "http://split.example.com:1/"},
		{"explain", "--fleet", "nobody", "http://split.example.com/"},
		{"wait", "--fleet", "nobody", "--timeout", "300ms"},
		{"wait", "--fleet", harness.Kinds[0], "--at-least", "2", "--timeout", "300ms"},
	} {
		if r := harness.Run(t, sluice(t), append(args, "--server", p.cp.Addr)...); r.Code != 1 || r.Stderr == "" {
			t.Errorf("%v: exit code %d, %s", args, r.Code, r.Stderr)
		}
	}
}

// TestRefusalIsTold: a listener that no proxy can bind is refused by both kinds, and held back. `status` has their own
// words; all else serves on; and without it all is well.
func TestRefusalIsTold(t *testing.T) {
	p := startPair(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0") // without SO_REUSEPORT: nobody else gets it
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	var text strings.Builder
	for _, kind := range harness.Kinds {
		fmt.Fprintf(&text, "---\nkind: Gateway\nname: taken-%s\nfleet: %s\nlisteners: [{name: http, address: 127.0.0.1, port: %d, protocol: HTTP}]\n", kind, kind, port)
	}
	p.stage.Write(t, []txtar.File{{Name: "taken.yaml", Data: []byte(text.String())}})
	for _, kind := range harness.Kinds {
		harness.Eventually(t, p.cp.Process, kind+" refuses", func() error {
			return contains(p.cp.Sluice("status"), []string{"SL0701", "Gateway/taken-" + kind, kind + "/" + kind + "-1", "LDS", fmt.Sprint(port)})
		})
		p.cp.WaitSynced(kind, 1) // it is held back, and nothing else
		if err := fine(p.loader(t, kind, 1).Run(20, 1)); err != nil {
			t.Errorf("%s: what was there does not serve on: %v", kind, err)
		}
	}
	t.Logf("status:\n%s", p.cp.Sluice("status"))
	p.stage.Put(t, "taken.yaml", "")
	for _, kind := range harness.Kinds {
		p.cp.WaitSynced(kind, 1)
	}
}
