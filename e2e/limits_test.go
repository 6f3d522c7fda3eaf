package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// held is a client's connection that stays open.
type held struct {
	net.Conn
	reader *bufio.Reader
}

func hold(t *testing.T, address string) *held {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, harness.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * harness.Patience))
	return &held{conn, bufio.NewReader(conn)}
}

const plainGet = "GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"

// ask sends a request, and returns the status of its answer; 0 is a connection that was closed without one.
func (h *held) ask(t *testing.T) int {
	t.Helper()
	if _, err := io.WriteString(h, plainGet); err != nil {
		return 0
	}
	res, err := http.ReadResponse(h.reader, nil)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}

func (h *held) want(t *testing.T, what string, status int) {
	t.Helper()
	if got := h.ask(t); got != status {
		t.Errorf("%s: got %d, want %d (0 is closed)", what, got, status)
	}
}

// closed tells whether the proxy has closed it, by a look that waits for a moment.
func (h *held) closed() bool {
	_ = h.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := h.reader.Peek(1)
	_ = h.SetDeadline(time.Now().Add(2 * harness.Patience))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// echoes tells whether a TCP upstream of the harness answers.
func (h *held) echoes(t *testing.T) bool {
	t.Helper()
	if _, err := io.WriteString(h, "x"); err != nil {
		return false
	}
	_ = h.Conn.(*net.TCPConn).CloseWrite()
	text, err := io.ReadAll(h)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return len(text) > 0
}

const limited = `kind: Gateway
name: web
listeners:
  - {name: two, address: 127.0.0.1, port: {{port "two"}}, protocol: HTTP, limits: {connections: 2, streams: 7}}
  - {name: tcp, address: 127.0.0.1, port: {{port "tcp"}}, protocol: TCP, backends: [{service: tcp}], limits: {connections: 1}}
  - {name: any, address: 127.0.0.1, port: {{port "any"}}, protocol: HTTP}
---
{kind: Service, name: v1, hosts: ["*"], gateways: [web], endpoints: ["{{upstream "v1"}}"]}
---
{kind: Service, name: tcp, endpoints: ["{{tcp "tcp"}}"]}
`

// TestConnectionLimits: a listener's limit and that on all connections, on both kinds of proxy. Of one too many, plaintext
// HTTP/1 is told 503 by ours, and closed by Envoy; all else is the same.
func TestConnectionLimits(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			tooMany := map[string]int{harness.Go: 503, harness.Envoy: 0}[kind]
			stage := harness.NewStage(t, []txtar.File{{Name: "limits.yaml", Data: []byte(limited)}})
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind, "--max-connections", "4")
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			two, tcp, any := stage.Addr(t, "127.0.0.1", "two"), stage.Addr(t, "127.0.0.1", "tcp"), stage.Addr(t, "127.0.0.1", "any")

			first, second := hold(t, two), hold(t, two)
			first.want(t, "first of two", 200)
			second.want(t, "second of two", 200)
			hold(t, two).want(t, "third of two", tooMany)
			first.want(t, "first again", 200)

			third := hold(t, any)
			third.want(t, "another listener", 200)
			only := hold(t, tcp)
			harness.Eventually(t, proxy.Process, "four connections are open", func() error {
				if n := active(t, proxy); n < 4 {
					return fmt.Errorf("%d connections", n)
				}
				return nil
			})
			hold(t, any).want(t, "fifth of four", tooMany)
			third.want(t, "third again", 200)
			if kind == harness.Go {
				overloadedReady(t, proxy, "OVERLOADED: connections\n")
				text := proxy.AdminGet("/stats/prometheus")
				for pattern, want := range map[string]float64{
					`sluice_listener_connections_refused_total\{listener="127.0.0.1:\d+",reason="listener"\}`:    1,
					`sluice_listener_connections_refused_total\{listener="127.0.0.1:\d+",reason="connections"\}`: 1,
					`sluice_overloaded\{reason="connections"\}`:                                                  1,
					`sluice_connections_active`: 4,
					`sluice_connections_max`:    4,
				} {
					if got := harness.Sum(t, text, pattern); got != want {
						t.Errorf("%s: got %v, want %v", pattern, got, want)
					}
				}
			}
			second.Close()
			harness.Eventually(t, proxy.Process, "there is room again", func() error {
				if n := active(t, proxy); n > 3 {
					return fmt.Errorf("%d connections", n)
				}
				return nil
			})
			proxy.WaitReady()
			// There is room in all, but not on this listener.
			if hold(t, tcp).echoes(t) {
				t.Error("second of one over TCP: got an answer, want it closed")
			}
			if !only.echoes(t) {
				t.Error("first of one over TCP: got no answer")
			}
			hold(t, two).want(t, "again second of two", 200)
		})
	}
}

// TestStreamLimit: both kinds of proxy announce how many streams a connection may have; 100 unless it is written.
func TestStreamLimit(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			stage := harness.NewStage(t, []txtar.File{{Name: "limits.yaml", Data: []byte(limited)}})
			cp := harness.StartControlPlane(t, stage.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			for port, want := range map[string]uint32{"two": 7, "any": 100} {
				conn := hold(t, stage.Addr(t, "127.0.0.1", port))
				framer := http2.NewFramer(conn, conn)
				if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
					t.Fatal(err)
				}
				if err := framer.WriteSettings(); err != nil {
					t.Fatal(err)
				}
				frame, err := framer.ReadFrame()
				settings, ok := frame.(*http2.SettingsFrame)
				if err != nil || !ok {
					t.Fatalf("got %v, %v, want SETTINGS first (RFC 9113, 3.4)", frame, err)
				}
				if got, _ := settings.Value(http2.SettingMaxConcurrentStreams); got != want {
					t.Errorf("%s: got %d streams, want %d", port, got, want)
				}
			}
		})
	}
}

// active is how many connections of clients a proxy has open.
func active(t *testing.T, proxy *harness.Proxy) int {
	t.Helper()
	pattern := `sluice_connections_active`
	if proxy.Kind == harness.Envoy {
		pattern = `envoy_listener_downstream_cx_active\{envoy_listener_address="[0-9_.]*"\}`
	}
	return int(harness.Sum(t, proxy.AdminGet("/stats/prometheus"), pattern))
}

func overloadedReady(t *testing.T, proxy *harness.Proxy, want string) {
	t.Helper()
	res, err := http.Get("http://" + proxy.Admin + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 503 || string(body) != want {
		t.Errorf("/ready: got %d %q, %v, want 503 %q", res.StatusCode, body, err, want)
	}
}

var rejectAction = regexp.MustCompile(`(?s)  - name: envoy.overload_actions.reject_incoming_connections\n.*?value: 0.98}}\n`)

// TestMemoryLimit: with too little memory both kinds of proxy answer 503 to new requests, or close new connections.
func TestMemoryLimit(t *testing.T) {
	for _, kind := range harness.Kinds {
		for name, status := range map[string]int{"requests": 503, "connections": 0} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				stage := harness.NewStage(t, []txtar.File{{Name: "limits.yaml", Data: []byte(limited)}})
				cp := harness.StartControlPlane(t, stage.Dir)
				admin, path := harness.Loopback(t), filepath.Join(t.TempDir(), "bootstrap.yaml")
				// No proxy runs in 4 MiB.
				text := harness.MustRun(t, filepath.Join(harness.Binaries(t), "sluice"), "bootstrap", "--server", cp.Addr, "--id", kind,
					"--admin", admin, "--max-heap", "4194304")
				if name == "requests" {
					if text = rejectAction.ReplaceAllString(text, ""); strings.Contains(text, "reject_incoming") {
						t.Fatalf("the bootstrap is not what this test knows:\n%s", text)
					}
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				proxy := harness.StartProxyFrom(t, kind, path, admin)
				cp.WaitSynced("default", 1)
				// Envoy looks only after its first second.
				harness.Eventually(t, proxy.Process, "requests are refused", func() error {
					if got := hold(t, stage.Addr(t, "127.0.0.1", "any")).ask(t); got != status {
						return fmt.Errorf("got %d, want %d", got, status)
					}
					return nil
				})
				if kind == harness.Go {
					overloadedReady(t, proxy, "OVERLOADED: memory\n")
				}
				if name == "requests" {
					proxy.WaitLog(`"flags":"-".*"status":503`)
				}
			})
		}
	}
}
