package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const ticketDefinitions = `kind: Gateway
name: web
fleet: first
listeners: [{name: https, address: 127.0.0.1, port: {{port "https"}}, protocol: HTTPS, certificates: [shop]}]
---
kind: Route
name: shop
gateways: [web]
rules: [{backends: [{service: v1}]}]
---
{kind: Service, name: v1, endpoints: ["{{upstream "v1"}}"]}
---
{kind: Certificate, name: shop, selfSigned: {hosts: [shop.example.com]}}
`

// TestSessionTickets: a client's TLS session outlives an edit, its proxy, and the control plane, within its fleet.
func TestSessionTickets(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			stage := harness.NewStage(t, []txtar.File{{Name: "web.yaml", Data: []byte(ticketDefinitions)}})
			edit := func(old, now string) {
				stage.Put(t, "web.yaml", strings.Replace(stage.Text(t, "web.yaml"), old, now, 1))
			}
			address := net.JoinHostPort("127.0.0.1", strconv.Itoa(stage.Ports["https"]))
			client := &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example.com", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			cp := harness.StartControlPlane(t, stage.Dir)
			start := func(fleet, id string) *harness.Proxy {
				p := harness.StartProxy(t, kind, cp.Addr, fleet, id)
				p.WaitReady()
				cp.WaitSynced(fleet, 1)
				return p
			}
			expect := func(when string, want bool) {
				t.Helper()
				got, err := session(address, client)
				if err != nil || got != want {
					t.Fatalf("%s: resumed %v (error %v), want %v", when, got, err, want)
				}
			}
			one := start("first", "one")
			expect("first visit", false)
			expect("second visit", true)
			builds := cp.Builds()
			edit("name: shop\ngateways", "name: shop\npriority: 7\ngateways")
			edit("rules: [", "rules: [{match: {path: {prefix: /new}}, backends: [{service: v1}]}, ")
			harness.Eventually(t, cp.Process, "the edit is seen", func() error {
				if cp.Builds() == builds {
					return errNotYet
				}
				return nil
			})
			cp.WaitSynced("first", 1)
			expect("after an edit", true)
			hidden(t, cp, one)
			one.Stop()

			cp.Kill()
			cp.Launch()
			cp.WaitReady()
			two := start("first", "two")
			expect("another proxy, after a restart of the control plane", true)
			two.Stop()

			edit("fleet: first", "fleet: second")
			three := start("second", "three")
			expect("a proxy of another fleet", false)
			expect("and again", true)
			three.Stop()
		})
	}
}

// session makes a request on a connection of its own, and tells whether it resumed a session.
func session(address string, client *tls.Config) (bool, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, client)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nhost: shop.example.com\r\nconnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err == nil && !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		err = fmt.Errorf("got %q", answer)
	}
	return conn.ConnectionState().DidResume, err
}

// hidden: no dump shows a key that the control plane keeps.
func hidden(t *testing.T, cp *harness.ControlPlane, proxy *harness.Proxy) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cp.State, "tickets.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	keys := regexp.MustCompile(`[A-Za-z0-9+/=]{108}`).FindAllString(string(text), -1)
	if len(keys) != 2 {
		t.Fatalf("got %d keys in the state, want 2", len(keys))
	}
	dump := proxy.AdminGet("/config_dump?include_eds") + cp.Sluice("status", "-o", "json")
	if !strings.Contains(dump, "sluice/session-tickets") || !strings.Contains(dump, "session_ticket_keys") {
		t.Errorf("the dump of %s lacks the ticket keys", proxy.Kind)
	}
	for _, key := range keys {
		if strings.Contains(dump, key[:40]) {
			t.Errorf("a dump of %s shows a key", proxy.Kind)
		}
	}
}
