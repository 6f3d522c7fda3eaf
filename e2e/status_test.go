package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// fleetStatus is `sluice status PROXY -o json`.
type fleetStatus struct {
	Proxies []struct {
		Resources []struct {
			Resource struct {
				Type, Name string
				Origins    []struct {
					Document, File string
					Line           int
				}
			}
			State, Wanted, Sent, Accepted, Error, Since string
		}
	}
	Totals struct{ Connected, Gone, Synced, Refusing int }
}

func askStatus(t *testing.T, cp *harness.ControlPlane, args ...string) (s fleetStatus) {
	t.Helper()
	if err := json.Unmarshal([]byte(cp.Sluice(append([]string{"status", "-o", "json"}, args...)...)), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// accepted are the versions that a control plane believes that a proxy runs, by type and name.
func accepted(t *testing.T, cp *harness.ControlPlane, proxy string) map[string]string {
	t.Helper()
	versions := map[string]string{}
	for _, r := range askStatus(t, cp, proxy).Proxies[0].Resources {
		if r.Accepted != "" {
			versions[r.Resource.Type+" "+r.Resource.Name] = r.Accepted
		}
	}
	return versions
}

// there stands for the version of a virtual host that is a resource of its own: dumps have none of it.
const there = "there"

// running are the versions that a proxy says that it runs. Endpoints and secrets have none in every dump.
func running(t *testing.T, proxy *harness.Proxy) map[string]string {
	t.Helper()
	var dump any
	if err := json.Unmarshal([]byte(proxy.AdminGet("/config_dump")), &dump); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for key, short := range map[string]string{"cluster": "CDS", "listener": "LDS", "route_config": "RDS"} {
				if inner, ok := v[key].(map[string]any); ok && v["version_info"] != nil {
					versions[fmt.Sprint(short, " ", inner["name"])] = fmt.Sprint(v["version_info"])
					hosts, _ := inner["virtual_hosts"].([]any)
					for _, h := range hosts {
						versions[fmt.Sprint("VHDS ", h.(map[string]any)["name"])] = there
					}
				}
			}
			for key, item := range v {
				if key != "warming_state" && key != "draining_state" && key != "error_state" {
					walk(item)
				}
			}
		}
	}
	walk(dump)
	return versions
}

// agree waits until both say the same of clusters, listeners, routes and virtual hosts.
func agree(t *testing.T, cp *harness.ControlPlane, id string, proxy *harness.Proxy) {
	t.Helper()
	harness.Eventually(t, cp.Process, "the status of "+id+" agrees with its config_dump", func() error { return agreed(t, cp, id, proxy) })
}

// agreed is an error unless they do.
func agreed(t *testing.T, cp *harness.ControlPlane, id string, proxy *harness.Proxy) error {
	t.Helper()
	told, is := accepted(t, cp, id), running(t, proxy)
	maps.DeleteFunc(told, func(name, _ string) bool { return strings.HasPrefix(name, "EDS") || strings.HasPrefix(name, "SDS") })
	for name := range told {
		switch {
		case strings.HasPrefix(name, "VHDS "):
			told[name] = there
		case strings.HasPrefix(name, "RDS ") && is[name] != "" && proxy.Kind == harness.Envoy: // it says that of the last response with a host of the table
			told[name], is[name] = there, there
		}
	}
	if len(is) < 4 || !maps.Equal(told, is) {
		if len(told)+len(is) < 50 {
			return fmt.Errorf("status has %v, the proxy %v", told, is)
		}
		for name, version := range told {
			if is[name] != version {
				return fmt.Errorf("%s: status of %s has %s, the proxy %s", name, id, version, is[name])
			}
		}
		return fmt.Errorf("%s: status has %d, the proxy %d", id, len(told), len(is))
	}
	return nil
}

// TestStatusAgrees: what the control plane says of each resource is what each kind of proxy says of itself: at the start, after
// edits, while a document is held back that they refuse, which is told in their words, and thereafter.
func TestStatusAgrees(t *testing.T) {
	p := startPair(t)
	agreeAll := func() {
		t.Helper()
		for _, kind := range harness.Kinds {
			p.cp.WaitSynced(kind, 1)
			agree(t, p.cp, kind+"-1", p.proxies[kind])
		}
	}
	agreeAll()
	before := accepted(t, p.cp, "envoy-1")
	p.edit(t, weights, turnedWeights)
	agreeAll()
	harness.Eventually(t, p.cp.Process, "the edit is told", func() error {
		now := accepted(t, p.cp, "envoy-1")
		const host = "VHDS envoy/http/split.example.com"
		if now[host] == before[host] || now["RDS envoy/http"] != before["RDS envoy/http"] || now["CDS v1"] != before["CDS v1"] {
			return fmt.Errorf("got %v after %v, want another version of the host alone", now, before)
		}
		return nil
	})

	taken, err := net.Listen("tcp", "127.0.0.1:0") // without SO_REUSEPORT: nobody else gets it
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	var text strings.Builder
	for _, kind := range harness.Kinds {
		fmt.Fprintf(&text, "---\nkind: Gateway\nname: taken-%s\nfleet: %s\nlisteners: [{name: http, address: 127.0.0.1, port: %d, protocol: HTTP}]\n", kind, kind, taken.Addr().(*net.TCPAddr).Port)
	}
	p.stage.Write(t, []txtar.File{{Name: "taken.yaml", Data: []byte(text.String())}})
	for i, kind := range harness.Kinds {
		harness.Eventually(t, p.cp.Process, "what "+kind+" refuses is told", func() error {
			return contains(p.cp.Sluice("status"), []string{
				fmt.Sprintf("taken.yaml:%d:", 5*i+3), "SL0701", "Gateway/taken-" + kind + ": " + kind + "/" + kind + "-1 (", "LDS: ", address, "ddress already in use", "served in its place: nothing",
			})
		})
	}
	agreeAll()
	for _, kind := range harness.Kinds {
		for _, r := range askStatus(t, p.cp, kind+"-1").Proxies[0].Resources {
			if r.State != "SYNCED" || r.Error != "" || r.Resource.Name == address {
				t.Errorf("%s: got %+v, want everything in order, and nothing of what is held back", kind, r)
			}
		}
	}
	if out := p.cp.Sluice("status"); !strings.Contains(out, "2 connected: 2 have the newest") || strings.Count(out, "SL0701") != 2 {
		t.Errorf("status: want that two have the newest, and two are held back, in\n%s", out)
	}
	log := p.cp.Log()
	for _, kind := range harness.Kinds {
		refused := fmt.Sprintf("msg=\"proxy refused\" fleet=%s proxy=%s-1 type=LDS", kind, kind)
		if n := strings.Count(log, refused); n != 2 { // when it came, and when it was heard alone
			t.Errorf("%d lines of the log are about the refusals of %s, want 2:\n%s", n, kind, log)
		}
	}
	if !strings.Contains(log, "resources="+address) || !strings.Contains(log, "taken.yaml:5: Gateway/taken-") {
		t.Errorf("the log does not say what was refused, and where it is written:\n%s", log)
	}
	p.stage.Put(t, "taken.yaml", "")
	agreeAll()
	harness.Eventually(t, p.cp.Process, "nothing is held back", func() error {
		if out := p.cp.Sluice("status"); strings.Contains(out, "SL0701") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	p.proxies["envoy"].Stop()
	harness.Eventually(t, p.cp.Process, "one went", func() error {
		s := askStatus(t, p.cp)
		if s.Totals.Connected != 1 || s.Totals.Gone != 1 || s.Totals.Synced != 1 {
			return fmt.Errorf("got %+v, want one there and one gone", s.Totals)
		}
		return contains(p.cp.Sluice("status", "envoy-1"), []string{"went "})
	})
	if r := harness.Run(t, sluice(t), "status", "nobody", "--server", p.cp.Addr); r.Code != 1 || !strings.Contains(r.Stderr, "no proxy nobody") {
		t.Errorf("status nobody: exit code %d, %s", r.Code, r.Stderr)
	}
}

// TestStatusRefused: what one proxy of two refuses is its own trouble. It is live on the other, nothing is held back, and status
// has it as ERROR, by resource, in the proxy's words, with where it is written; all else that it says agrees with the proxy.
func TestStatusRefused(t *testing.T) {
	p := startPair(t)
	proxies := map[string]*harness.Proxy{
		"sluice-proxy-1": p.proxies["sluice-proxy"], "envoy-1": p.proxies["envoy"],
		"sluice-proxy-2": harness.StartProxy(t, harness.Go, p.cp.Addr, "sluice-proxy", "sluice-proxy-2"), "envoy-2": startStrict(t, p.cp, "envoy", "envoy-2"),
	}
	for _, kind := range harness.Kinds {
		p.cp.WaitSynced(kind, 2)
	}
	p.stage.Write(t, []txtar.File{{Name: "own.yaml", Data: []byte("kind: Gateway\nname: own\nfleet: sluice-proxy\nlisteners: [{name: http, socket: {{socket \"own\"}}, protocol: HTTP}]\n---\n" +
		"kind: Route\nname: own\ngateways: [envoy]\nhosts: [own.example.com]\nrules: [{match: {path: {regex: \"" + tooLarge + "\"}}, respond: {status: 200}}, {respond: {status: 204}}]\n")}})
	for _, c := range []struct{ kind, short, name, says, document, at string }{
		{"sluice-proxy", "LDS", "unix:" + p.stage.Sockets["own"], "in use", "Gateway/own/http", "own.yaml:4"}, // one of them has the socket
		{"envoy", "VHDS", "envoy/http/own.example.com", "program size", "Route/own", "own.yaml:7"},
	} {
		var has, refuses string
		harness.Eventually(t, p.cp.Process, "one refuses, and one accepts", func() error {
			has, refuses = "", ""
			for _, id := range []string{c.kind + "-1", c.kind + "-2"} {
				for _, r := range askStatus(t, p.cp, id).Proxies[0].Resources {
					if r.Resource.Type != c.short || r.Resource.Name != c.name || len(r.Resource.Origins) == 0 {
						continue
					}
					at := r.Resource.Origins[0]
					switch {
					case at.Document != c.document || !strings.HasSuffix(fmt.Sprintf("%s:%d", at.File, at.Line), c.at) || r.Since == "":
						return fmt.Errorf("got %+v, want that it is written at %s", r, c.at)
					case r.State == "SYNCED" && r.Accepted == r.Wanted:
						has = id
					case r.State == "ERROR" && strings.Contains(r.Error, c.says) && r.Accepted == "" && r.Sent == r.Wanted:
						refuses = id
					}
				}
			}
			if has == "" || refuses == "" {
				return fmt.Errorf("has: %q, refuses: %q: %s", has, refuses, p.cp.Sluice("status"))
			}
			return nil
		})
		agree(t, p.cp, refuses, proxies[refuses])
		agree(t, p.cp, has, proxies[has])
		out := p.cp.Sluice("status", refuses)
		for _, want := range []string{"\nERROR ", " " + fmt.Sprintf("%-6s", c.short) + c.name, c.at, c.short + " refused: "} {
			if !strings.Contains(out, want) {
				t.Errorf("status %s: want %q in\n%s", refuses, want, out)
			}
		}
		if strings.Contains(out, "\nSYNCED") {
			t.Errorf("status %s: tells of what is in order:\n%s", refuses, out)
		}
		if n := strings.Count(p.cp.Log(), "proxy="+refuses+" type="+c.short); n != 1 {
			t.Errorf("%d lines of the log are about the refusal of %s, want 1:\n%s", n, refuses, p.cp.Log())
		}
	}
	out := p.cp.Sluice("status")
	if want := "4 connected: 2 have the newest, 2 refuse something"; !strings.Contains(out, want) || strings.Contains(out, "SL0701") {
		t.Errorf("status: want %q, and nothing held back, in\n%s", want, out)
	}
}
