package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestTrustChanges: another authority in a TrustBundle holds for whoever connects next, and drains nobody. A broken file
// changes nothing.
func TestTrustChanges(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			old, young := harness.NewAuthority(t), harness.NewAuthority(t)
			s := harness.NewStage(t, []txtar.File{{Name: "d.yaml", Data: []byte(`
kind: Gateway
name: web
listeners:
  - {name: https, address: 127.0.0.1, port: {{port "https"}}, protocol: HTTPS, certificates: [shop], clientCertificates: {trustBundle: ca}}
---
{kind: TrustBundle, name: ca, files: [ca.pem]}
---
{kind: Certificate, name: shop, selfSigned: {hosts: [shop.example.com]}}
---
{kind: Service, name: v1, hosts: ["*"], gateways: [web], endpoints: ["{{upstream "v1"}}"]}
`)}})
			s.Put(t, "ca.pem", old.PEM)
			cp := harness.StartControlPlane(t, s.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			client := func(a *harness.Authority) *tls.Config {
				pair := must(tls.X509KeyPair(bytes2(a.Client(t, "spiffe://example.com/a"))))
				return &tls.Config{
					ServerName: "shop.example.com", InsecureSkipVerify: true, Certificates: []tls.Certificate{pair},
					ClientSessionCache: tls.NewLRUClientSessionCache(4), NextProtos: []string{"http/1.1"},
				}
			}
			addr := s.Addr(t, "127.0.0.1", "https")
			known, newcomer := client(old), client(young)
			held, err := tls.Dial("tcp", addr, known)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			if err := ask(held); err != nil {
				t.Fatal(err)
			}
			if err := askAnew(addr, newcomer); err == nil {
				t.Error("the other authority's client is taken before it is named")
			}

			s.Put(t, "ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n")
			cp.WaitLog("cut short or damaged")
			if err := askAnew(addr, known); err != nil {
				t.Errorf("after a broken file: %v", err)
			}

			s.Put(t, "ca.pem", young.PEM)
			harness.Eventually(t, proxy.Process, "the other authority's client is taken", func() error { return askAnew(addr, newcomer) })
			if err := askAnew(addr, known); err == nil {
				t.Error("who was known is taken still, perhaps by a session of before")
			}
			if err := ask(held); err != nil {
				t.Errorf("a connection that was there: %v", err)
			}
		})
	}
}

// TestTrustOfEndpointsChanges: other authorities, and another certificate of the proxy's own, hold for its next connections to a Service.
func TestTrustOfEndpointsChanges(t *testing.T) {
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := harness.NewStage(t, []txtar.File{{Name: "d.yaml", Data: []byte(`
{kind: Gateway, name: web, listeners: [{name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}]}
---
{kind: TrustBundle, name: ca, files: [ca.pem]}
---
{kind: Certificate, name: edge, files: {certificate: edge.crt, privateKey: edge.key}}
---
{kind: Service, name: v1, hosts: ["*"], gateways: [web], endpoints: ["{{mutual "upstream" "v1" "ca/a.test"}}"], tls: {trustBundle: ca, serverName: a.test, certificate: edge}}
`)}})
			stranger, known := harness.NewAuthority(t), s.Authority(t, "ca")
			show := func(a *harness.Authority) {
				certificate, key := a.Client(t, "spiffe://example.com/edge")
				s.Put(t, "edge.key", key)
				s.Put(t, "edge.crt", certificate)
			}
			s.Put(t, "ca.pem", stranger.PEM)
			show(stranger)
			cp := harness.StartControlPlane(t, s.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			status := func(want int) error {
				a := harness.Do(&harness.Request{Method: "GET", Addr: s.Addr(t, "127.0.0.1", "http"), Proto: "HTTP/1.1", Authority: "a.test", Path: "/"}, false)
				if a.Status != want {
					return fmt.Errorf("got status %d %s, want %d", a.Status, a.Refused, want)
				}
				return nil
			}
			if err := status(http.StatusServiceUnavailable); err != nil {
				t.Error(err)
			}
			s.Put(t, "ca.pem", known.PEM)
			show(known)
			harness.Eventually(t, proxy.Process, "the endpoint is trusted, and trusts", func() error { return status(http.StatusOK) })
			for range 10 {
				if err := status(http.StatusOK); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func bytes2(a, b string) ([]byte, []byte) { return []byte(a), []byte(b) }

// askAnew sends a request on a new connection.
func askAnew(addr string, cfg *tls.Config) error {
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	return ask(conn)
}

// ask sends a request on a connection.
func ask(conn *tls.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(harness.Patience))
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}
