package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// line is one keep-alive connection, on which requests go one by one: it is cut if the proxy closes it.
type line struct {
	conn   net.Conn
	reader *bufio.Reader
}

func dialLine(t *testing.T, addr string) *line {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &line{conn, bufio.NewReader(conn)}
}

func (l *line) ask(host string) error {
	_ = l.conn.SetDeadline(time.Now().Add(harness.Patience))
	if _, err := fmt.Fprintf(l.conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
		return err
	}
	resp, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// TestEditsCutNothing: while requests go, services, routes and listeners come, change and go. No request fails, and a
// connection that was there at the start is there at the end.
func TestEditsCutNothing(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const web = "kind: Gateway\nname: web\nlisteners:\n  - {name: http, address: 127.0.0.1, port: {{port \"http\"}}, protocol: HTTP}\n"
			const more = "  - {name: more, address: 127.0.0.1, port: {{port \"more\"}}, protocol: HTTP}\n"
			route := func(service string) string {
				return "---\nkind: Route\nname: r\ngateways: [web]\nhosts: [a.example.com]\nrules: [{name: all, backends: [{service: " + service + "}]}]\n"
			}
			service := func(name, upstream string) string {
				return "---\n{kind: Service, name: " + name + ", endpoints: [\"{{upstream \"" + upstream + "\"}}\"]}\n"
			}
			const stranger = "---\n{kind: Service, name: stranger, hosts: [b.example.com], gateways: [web], endpoints: [\"{{upstream \"stranger\"}}\"]}\n"
			files := func(text string) []txtar.File { return []txtar.File{{Name: "web.yaml", Data: []byte(text)}} }

			stage := harness.NewStage(t, files(web+route("one")+service("one", "u1")+stranger))
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			addr := stage.Addr(t, "127.0.0.1", "http")
			old := dialLine(t, addr)
			if err := old.ask("b.example.com"); err != nil {
				t.Fatal(err)
			}
			stopA := harness.NewLoader(t, "http://"+addr+"/", "a.example.com", 3).Background(3)
			stopB := harness.NewLoader(t, "http://"+addr+"/", "b.example.com", 1).Background(1)
			probe := harness.NewLoader(t, "http://"+addr+"/", "a.example.com", 1)
			servedBy := func(upstream string) func() error {
				return func() error {
					if tally := probe.Run(1, 1); tally.Served[upstream] != 1 {
						return fmt.Errorf("got %v %v, want %s", tally.Served, tally.Words, upstream)
					}
					return nil
				}
			}
			for _, step := range []struct {
				name, text string
				live       func() error
			}{
				{"endpoints change", web + route("one") + service("one", "u2") + stranger, servedBy("u2")},
				{"the service is another", web + route("two") + service("two", "u3") + stranger, servedBy("u3")},
				{"the policy changes", web + route("two") + strings.Replace(service("two", "u4"), "}\n", ", loadBalancer: {leastRequest: {}}}\n", 1) + stranger, servedBy("u4")},
				{"the next service speaks another protocol", web + route("three") + strings.Replace(strings.Replace(service("three", "h2"), "upstream", "h2c", 1), "}\n", ", protocol: HTTP2}\n", 1) + stranger, servedBy("h2")},
				{"protocol and endpoints change at once", web + route("three") + service("three", "u3") + stranger, servedBy("u3")},
				{"a listener comes", web + more + route("one") + service("one", "u1") + stranger, func() error {
					if tally := harness.NewLoader(t, "http://"+stage.Addr(t, "127.0.0.1", "more")+"/", "a.example.com", 1).Run(1, 1); tally.Served["u1"] != 1 {
						return fmt.Errorf("%v", tally.Words)
					}
					return nil
				}},
				{"and goes", web + route("one") + service("one", "u2") + stranger, servedBy("u2")},
			} {
				stage.Write(t, files(step.text))
				took := harness.Eventually(t, proxy.Process, step.name, step.live)
				t.Logf("%s: live after %v", step.name, took.Round(time.Millisecond))
				if err := old.ask("b.example.com"); err != nil {
					t.Errorf("%s: the connection of a stranger: %v", step.name, err)
				}
			}
			for name, stop := range map[string]func() harness.Tally{"a": stopA, "b": stopB} {
				if tally := stop(); fine(tally) != nil || tally.Requests < 50 {
					t.Errorf("%s.example.com: %v", name, fine(tally))
				} else {
					t.Logf("%s.example.com: %d requests, none failed", name, tally.Requests)
				}
			}
		})
	}
}

// TestDrain: on SIGTERM the Go proxy takes no more connections, finishes what is in flight, and ends with 0.
func TestDrain(t *testing.T) {
	stage := harness.NewStage(t, []txtar.File{{Name: "web.yaml", Data: []byte("kind: Gateway\nname: web\nlisteners:\n" +
		"  - {name: http, address: 127.0.0.1, port: {{port \"http\"}}, protocol: HTTP}\n---\n" +
		"{kind: Service, name: v1, hosts: [\"*\"], gateways: [web], endpoints: [\"{{upstream \"v1\"}}\"]}\n")}})
	cp := harness.StartControlPlane(t, stage.Dir)
	proxy := harness.StartProxy(t, harness.Go, cp.Addr, "default", "one")
	proxy.WaitReady()
	addr := stage.Addr(t, "127.0.0.1", "http")
	answer := make(chan *harness.Answer, 1)
	go func() {
		answer <- harness.Do(&harness.Request{
			Method: "GET", Addr: addr, Proto: "HTTP/1.1", Authority: "shop.example.com", Path: "/",
			Header: []harness.Field{{Name: "x-echo-delay", Value: "1s"}, {Name: "x-echo-size", Value: "100000"}},
		}, false)
	}()
	harness.Eventually(t, proxy.Process, "the request is in flight", func() error {
		if stage.Upstreams["v1"].Count() == 0 {
			return errNotYet
		}
		return nil
	})
	proxy.Signal(syscall.SIGTERM)
	harness.Eventually(t, nil, "no more connections", func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return errNotYet
		}
		return nil
	})
	if a := <-answer; a.Status != 200 || len(a.Body) != 100000 {
		t.Errorf("the request in flight: status %d, %d bytes, %s%s", a.Status, len(a.Body), a.Refused, a.Broken)
	}
	select {
	case <-proxy.Done():
	case <-time.After(harness.Patience):
		t.Fatal("it did not end")
	}
	if code := proxy.ExitCode(); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
}
