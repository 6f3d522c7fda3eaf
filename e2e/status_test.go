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

// agree waits until both say the same of clusters, listeners and routes.
func agree(t *testing.T, p *pair, kind string) {
	t.Helper()
	harness.Eventually(t, p.cp.Process, "the status of "+kind+" agrees with its config_dump", func() error {
		told, is := accepted(t, p.cp, kind+"-1"), running(t, p.proxies[kind])
		maps.DeleteFunc(told, func(name, _ string) bool { return strings.HasPrefix(name, "EDS") || strings.HasPrefix(name, "SDS") })
		if len(is) < 4 || !maps.Equal(told, is) {
			return fmt.Errorf("status has %v, the proxy %v", told, is)
		}
		return nil
	})
}

// TestStatusAgrees: what the control plane says of each resource is what each kind of proxy says of itself: at the start, after
// edits, while it refuses something, and thereafter.
func TestStatusAgrees(t *testing.T) {
	p := startPair(t)
	for _, kind := range harness.Kinds {
		agree(t, p, kind)
	}
	before := accepted(t, p.cp, "envoy-1")
	p.edit(t, weights, turnedWeights)
	for _, kind := range harness.Kinds {
		p.cp.WaitSynced(kind, 1)
		agree(t, p, kind)
	}
	harness.Eventually(t, p.cp.Process, "the edit is told", func() error {
		now := accepted(t, p.cp, "envoy-1")
		if now["RDS envoy/http"] == before["RDS envoy/http"] || now["CDS v1"] != before["CDS v1"] {
			return fmt.Errorf("got %v after %v, want another version of the routes alone", now, before)
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
		harness.Eventually(t, p.cp.Process, kind+" refuses", func() error {
			for _, r := range askStatus(t, p.cp, kind+"-1").Proxies[0].Resources {
				if r.Resource.Type != "LDS" || r.Resource.Name != address {
					continue
				}
				if len(r.Resource.Origins) == 0 {
					return fmt.Errorf("got %+v, want where it is written", r)
				}
				at := r.Resource.Origins[0]
				if r.State == "ERROR" && strings.Contains(r.Error, address) && r.Accepted == "" && r.Sent == r.Wanted && r.Since != "" &&
					strings.HasSuffix(at.File, "taken.yaml") && at.Line == 5*i+5 && at.Document == "Gateway/taken-"+kind+"/http" {
					return nil
				}
				return fmt.Errorf("got %+v, want it refused, in the proxy's words, from line %d", r, 5*i+5)
			}
			return fmt.Errorf("nothing is told of it")
		})
		agree(t, p, kind)
		out := p.cp.Sluice("status", kind+"-1")
		for _, want := range []string{"\nERROR ", " LDS   " + address, "taken.yaml:", "LDS refused: "} {
			if !strings.Contains(out, want) {
				t.Errorf("status %s-1: want %q in\n%s", kind, want, out)
			}
		}
		if strings.Contains(out, "\nSYNCED") {
			t.Errorf("status %s-1: tells of what is in order:\n%s", kind, out)
		}
	}
	out := p.cp.Sluice("status")
	if want := "2 connected: 0 have the newest, 2 refuse something"; !strings.Contains(out, want) || !strings.Contains(out, "taken.yaml:") {
		t.Errorf("status: want %q and the place in\n%s", want, out)
	}
	log := p.cp.Log()
	for _, kind := range harness.Kinds {
		if n := strings.Count(log, "proxy="+kind+"-1 type=LDS"); n != 1 {
			t.Errorf("%d lines of the log are about the refusal of %s, want 1:\n%s", n, kind, log)
		}
	}
	if !strings.Contains(log, "resources="+address) || !strings.Contains(log, "taken.yaml:5: Gateway/taken-") {
		t.Errorf("the log does not say what was refused, and where it is written:\n%s", log)
	}
	p.stage.Put(t, "taken.yaml", "")
	for _, kind := range harness.Kinds {
		p.cp.WaitSynced(kind, 1)
		agree(t, p, kind)
	}
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
