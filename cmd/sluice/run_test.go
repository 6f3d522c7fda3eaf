package main

import (
	"slices"
	"testing"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

const sharedSocket = `kind: Gateway
name: web
listeners:
  - {name: admin, port: 8443, protocol: HTTPS, hosts: [admin.example.com], certificates: [admin]}
  - {name: shop, port: 8443, protocol: HTTPS, hosts: [shop.example.com], certificates: [shop]}
  - {name: mail, port: 8443, protocol: TLS, hosts: [mail.example.com], backends: [{service: s}]}
  - {name: http, port: 8080, protocol: HTTP, redirect: {scheme: https}}
---
{kind: Certificate, name: admin, selfSigned: {}}
---
{kind: Certificate, name: shop, selfSigned: {}}
---
{kind: Service, name: s, endpoints: ["127.0.0.1:1"]}
---
{kind: Route, name: admin, gateways: [web/admin], hosts: [admin.example.com], rules: [{backends: [{service: s}]}]}
---
{kind: Route, name: shop, gateways: [web/shop], hosts: [shop.example.com], rules: [{backends: [{service: s}]}]}
`

// TestListenerURLs: `sluice run` names everybody who shares a socket.
func TestListenerURLs(t *testing.T) {
	documents, problems := definition.Parse("a.yaml", []byte(sharedSocket))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	fleet := compile.Compile(compile.Input{Documents: documents, Certificates: pageCertificate}).Fleets[0]
	var got []string
	for i := range fleet.Listeners {
		got = append(got, listenerURLs(&fleet.Listeners[i], fleet.RouteTables)...)
	}
	want := []string{
		"http://localhost:8080  (redirects)",
		"https://admin.example.com:8443", "tls://mail.example.com:8443", "https://shop.example.com:8443",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
