package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestWebSocketExample is examples/websocket.
func TestWebSocketExample(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			e := loadExample(t, "websocket")
			up := harness.NewUpstream(t, "chat")
			text, err := os.ReadFile(filepath.Join(e.Dir, "websocket.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			gateway := fmt.Sprintf("---\nkind: Gateway\nname: default\nlisteners:\n  - {name: http, address: 127.0.0.1, port: %d, protocol: HTTP}\n", e.port(t, "8080"))
			e.Put(t, "websocket.yaml", strings.ReplaceAll(string(text), e.addr(t, "9001"), up.Addr)+gateway)
			cp := harness.StartControlPlane(t, e.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			for _, test := range []struct {
				path, protocol string
				status         int
			}{
				{"/", "websocket", 101}, {"/api", "websocket", 403}, {"/exec", "tcp", 101}, {"/exec", "websocket", 101}, {"/", "tcp", 403},
			} {
				a := harness.Do(&harness.Request{
					Method: "GET", Proto: "HTTP/1.1", Addr: e.addr(t, "8080"), Authority: "chat.localhost", Path: test.path, Upgrade: test.protocol,
					Header: []harness.Field{{Name: "x-echo-upgrade", Value: "yes"}}, Body: []byte("hello"),
				}, false)
				if a.Status != test.status || test.status == 101 && string(a.Body) != "hello" {
					t.Errorf("%s to %s: got status %d, %q, %s, want %d", test.path, test.protocol, a.Status, a.Body, a.Refused, test.status)
				}
			}
		})
	}
}

// TestWebSocketBothWays sends 100 MB through and awaits them back meanwhile.
func TestWebSocketBothWays(t *testing.T) {
	const size = 100 << 20
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			up := harness.NewUpstream(t, "v1")
			up.CountOnly()
			port := harness.FreePort(t)
			stage := &harness.Stage{Dir: t.TempDir()}
			stage.Put(t, "d.yaml", fmt.Sprintf("kind: Gateway\nname: web\nlisteners:\n  - {name: http, address: 127.0.0.1, port: %d, protocol: HTTP}\n---\n"+
				"{kind: Service, name: v1, hosts: [\"*\"], gateways: [web], endpoints: [%q]}\n", port, up.Addr))
			cp := harness.StartControlPlane(t, stage.Dir)
			harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
			cp.WaitSynced("default", 1)
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nx-echo-upgrade: yes\r\n\r\n")
			head := make([]byte, 0, 1024)
			for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
				if _, err := io.ReadFull(conn, head[len(head):len(head)+1]); err != nil {
					t.Fatal(err)
				}
				head = head[:len(head)+1]
			}
			if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
				t.Fatalf("got %q, want a 101", head)
			}
			block := harness.Pattern(1 << 20)
			go func() {
				for range size / len(block) {
					if _, err := conn.Write(block); err != nil {
						return
					}
				}
			}()
			got := make([]byte, len(block))
			for i := range size / len(block) {
				if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, block) {
					t.Fatalf("MiB %d: error %v, equal %v", i, err, bytes.Equal(got, block))
				}
			}
		})
	}
}
