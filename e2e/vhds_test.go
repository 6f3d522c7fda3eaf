package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const manyHosts = 300

// hostsOf is a fleet of each kind with many hosts, each of which says its own name.
func hostsOf(change map[int]string, more string) string {
	var b strings.Builder
	for _, kind := range harness.Kinds {
		second := ""
		if more != "" {
			second = fmt.Sprintf(`, {name: more, address: 127.0.0.1, port: {{port "%s-more"}}, protocol: HTTP}`, kind)
		}
		fmt.Fprintf(&b, `kind: Gateway
name: %s
fleet: %s
listeners: [{name: http, address: 127.0.0.1, port: {{port "%s"}}, protocol: HTTP}%s]
---
`, kind, kind, kind, second)
	}
	for i := range manyHosts {
		says := fmt.Sprint("host ", i)
		if text, ok := change[i]; ok {
			says = text
		}
		if says != "" {
			fmt.Fprintf(&b, "kind: Route\nname: r%d\ngateways: [sluice-proxy, envoy]\nhosts: [h%d.example.com]\nrules: [{respond: {status: 200, body: %q}}]\n---\n", i, i, says)
		}
	}
	return b.String()
}

// relay counts the bytes that a control plane sends.
type relay struct {
	addr string
	sent atomic.Int64
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &relay{addr: l.Addr().String()}
	go func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				_ = down.Close()
				continue
			}
			go func() {
				_, _ = io.Copy(up, down)
				_ = up.Close()
			}()
			go func() {
				_, _ = io.Copy(io.MultiWriter(down, r), up)
				_ = down.Close()
			}()
		}
	}()
	return r
}

func (r *relay) Write(p []byte) (int, error) {
	r.sent.Add(int64(len(p)))
	return len(p), nil
}

// TestOneHostOfMany: of a table of 300 hosts, an edit of one sends a few hundred bytes to each proxy and not the table; a host
// that goes is gone; and a second listener, whose hosts Envoy does not ask for, has them.
func TestOneHostOfMany(t *testing.T) {
	stage := harness.NewStage(t, []txtar.File{{Name: "hosts.yaml", Data: []byte(hostsOf(nil, ""))}})
	cp := harness.StartControlPlane(t, stage.Dir)
	relays, proxies := map[string]*relay{}, map[string]*harness.Proxy{}
	for _, kind := range harness.Kinds {
		relays[kind] = startRelay(t, cp.Addr)
		proxies[kind] = harness.StartProxy(t, kind, relays[kind].addr, kind, kind+"-1")
		proxies[kind].WaitReady()
	}
	says := func(kind, port string, host int) string {
		request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", stage.Ports[port]), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = fmt.Sprintf("h%d.example.com", host)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return fmt.Sprint(response.StatusCode, " ", string(body), errors.Join(err))
	}
	expect := func(kind, port string, host int, want string) {
		t.Helper()
		harness.Eventually(t, proxies[kind].Process, fmt.Sprintf("%s: host %d", kind, host), func() error {
			if got := says(kind, port, host); !strings.HasPrefix(got, want) {
				return fmt.Errorf("got %q, want %q", got, want)
			}
			return nil
		})
	}
	for _, kind := range harness.Kinds {
		expect(kind, kind, 0, "200 host 0")
		expect(kind, kind, manyHosts-1, fmt.Sprint("200 host ", manyHosts-1))
		cp.WaitSynced(kind, 1)
	}

	before := map[string]int64{}
	for _, kind := range harness.Kinds {
		before[kind] = relays[kind].sent.Load()
	}
	stage.Write(t, []txtar.File{{Name: "hosts.yaml", Data: []byte(hostsOf(map[int]string{7: "another"}, ""))}})
	for _, kind := range harness.Kinds {
		expect(kind, kind, 7, "200 another")
		expect(kind, kind, 8, "200 host 8")
		all, one := before[kind], relays[kind].sent.Load()-before[kind]
		t.Logf("%s: all hosts %d bytes, one host's edit %d", kind, all, one)
		if all < manyHosts*50 || one > 1500 {
			t.Errorf("%s: got %d bytes for all hosts and %d for one, want the one alone", kind, all, one)
		}
	}

	stage.Write(t, []txtar.File{{Name: "hosts.yaml", Data: []byte(hostsOf(map[int]string{7: ""}, ""))}})
	for _, kind := range harness.Kinds {
		expect(kind, kind, 7, "404")
		expect(kind, kind, 8, "200 host 8")
	}
	stage.Write(t, []txtar.File{{Name: "hosts.yaml", Data: []byte(hostsOf(map[int]string{7: "back"}, "more"))}})
	for _, kind := range harness.Kinds {
		expect(kind, kind+"-more", 7, "200 back")
		expect(kind, kind+"-more", manyHosts-1, fmt.Sprint("200 host ", manyHosts-1))
		expect(kind, kind, 7, "200 back")
		cp.WaitSynced(kind, 1)
	}
}
