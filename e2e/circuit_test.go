package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const circuits = `kind: Gateway
name: web
listeners:
  - {name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}
  - {name: tcp, address: 127.0.0.1, port: {{port "tcp"}}, protocol: TCP, backends: [{service: tcp}]}
---
{kind: Service, name: requests, hosts: [requests.test], gateways: [web], endpoints: ["{{upstream "requests"}}"], circuitBreaker: {requests: 1}}
---
kind: Service
name: waiting
hosts: [waiting.test]
gateways: [web]
endpoints: ["{{upstream "waiting"}}"]
circuitBreaker: {connections: 1, pendingRequests: 1}
---
kind: Service
name: streams
protocol: HTTP2
hosts: [streams.test]
gateways: [web]
endpoints: ["{{h2c "streams"}}"]
circuitBreaker: {requests: 1}
---
{kind: Service, name: tcp, endpoints: ["{{echo "tcp"}}"], circuitBreaker: {connections: 1}}
`

// begin sends a request whose body is still to come: it is under way until finish.
func (h *held) begin(t *testing.T, host string) {
	t.Helper()
	if _, err := io.WriteString(h, "POST / HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 4\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
}

func (h *held) finish(t *testing.T, what string, status int) {
	t.Helper()
	if _, err := io.WriteString(h, "body"); err != nil {
		t.Fatal(err)
	}
	h.answer(t, what, status)
}

func (h *held) answer(t *testing.T, what string, status int) {
	t.Helper()
	res, err := http.ReadResponse(h.reader, nil)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != status {
		t.Errorf("%s: got %d (%v), want %d", what, res.StatusCode, err, status)
	}
}

// TestCircuitBreaker: what is too much for a Service is answered 503 at once, what waits gets its turn, and when there is
// room again, requests go through; on both kinds of proxy.
func TestCircuitBreaker(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			stage := harness.NewStage(t, []txtar.File{{Name: "circuits.yaml", Data: []byte(circuits)}})
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			at := stage.Addr(t, "127.0.0.1", "http")

			for _, host := range []string{"requests.test", "streams.test"} {
				first := hold(t, at)
				first.begin(t, host)
				// Else the second might be the first.
				harness.Eventually(t, proxy.Process, "the first request of "+host, func() error {
					return underWay(proxy, strings.TrimSuffix(host, ".test"), "requests_active", "upstream_rq_active")
				})
				if err := statusOf(at, host, 503); err != nil {
					t.Errorf("the second request of %s: %v", host, err)
				}
				first.finish(t, "the first of "+host, 200)
				harness.Eventually(t, proxy.Process, "there is room again for "+host, func() error { return statusOf(at, host, 200) })
			}

			// One connection: a request is under way, one may wait, and of more none.
			first := hold(t, at)
			first.begin(t, "waiting.test")
			harness.Eventually(t, proxy.Process, "the connection is in use", func() error { return underWay(proxy, "waiting", "connections_active", "upstream_cx_active") })
			const more = 5
			answers := make(chan int, more)
			for range more {
				h := hold(t, at)
				go func() { answers <- h.get("waiting.test") }()
			}
			for i := range more - 1 {
				if got := <-answers; got != 503 {
					t.Fatalf("of %d more: answer %d is %d, want 503", more, i, got)
				}
			}
			first.finish(t, "the first", 200)
			if got := <-answers; got != 200 {
				t.Errorf("the one that waited: got %d, want 200", got)
			}

			only := hold(t, stage.Addr(t, "127.0.0.1", "tcp"))
			only.says(t, "one")
			second := hold(t, stage.Addr(t, "127.0.0.1", "tcp"))
			if _, err := second.reader.Peek(1); err == nil {
				t.Error("the second of one connection over TCP: got an answer, want it closed")
			}
			only.says(t, "two")

			if kind == harness.Go {
				text := proxy.AdminGet("/stats/prometheus")
				for cluster, want := range map[string]float64{"waiting": more - 1, "tcp": 1} {
					if got := harness.Sum(t, text, `sluice_cluster_overflows_total\{cluster="`+cluster+`"\}`); got != want {
						t.Errorf("overflows of %s: got %v, want %v", cluster, got, want)
					}
				}
			}
		})
	}
}

// says sends a word to a TCP upstream that sends it back.
func (h *held) says(t *testing.T, word string) {
	t.Helper()
	if _, err := io.WriteString(h, word); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(h.reader, got); err != nil || string(got) != word {
		t.Fatalf("echo: got %q (%v), want %q", got, err, word)
	}
}

// get is the status of an answer; 0 is none.
func (h *held) get(host string) int {
	if _, err := io.WriteString(h, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); err != nil {
		return 0
	}
	res, err := http.ReadResponse(h.reader, nil)
	if err != nil {
		return 0
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0
	}
	return res.StatusCode
}

// statusOf asks once on a connection of its own.
func statusOf(at, host string, want int) error {
	conn, err := net.DialTimeout("tcp", at, harness.Patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(harness.Patience))
	if got := (&held{conn, bufio.NewReader(conn)}).get(host); got != want {
		return fmt.Errorf("got %d, want %d", got, want)
	}
	return nil
}

// underWay wants one of what a metric counts for a cluster; each kind of proxy has a name for it.
func underWay(proxy *harness.Proxy, cluster, ours, envoys string) error {
	path, line := "/stats?filter=^cluster."+cluster+"."+envoys+"$", fmt.Sprintf("cluster.%s.%s: 1", cluster, envoys)
	if proxy.Kind == harness.Go {
		path, line = "/stats/prometheus", fmt.Sprintf("sluice_cluster_%s{cluster=%q} 1", ours, cluster)
	}
	if text := proxy.AdminGet(path); !strings.Contains(text, line) {
		return fmt.Errorf("want %q", line)
	}
	return nil
}
