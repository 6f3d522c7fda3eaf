package bench

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

func launchSluice(e *Env, t *testing.T, p *Proxy) {
	binary := filepath.Join(harness.Binaries(t), "sluice-proxy")
	launchByXDS(e, t, p, binary, func(bootstrap string) []string { return []string{"-c", bootstrap} })
}

func launchEnvoy(e *Env, t *testing.T, p *Proxy) {
	launchByXDS(e, t, p, harness.EnvoyBinary(t), func(bootstrap string) []string {
		return []string{"-c", bootstrap, "--disable-hot-restart", "--concurrency", "1", "-l", "error", "--drain-time-s", "1"}
	})
}

// launchByXDS starts a control plane over definitions, and a proxy that it configures: both kinds get the same.
func launchByXDS(e *Env, t *testing.T, p *Proxy, binary string, args func(bootstrap string) []string) {
	dir := t.TempDir()
	stage := &harness.Stage{Dir: t.TempDir()}
	for _, name := range []string{"cert.pem", "key.pem"} {
		text := (&harness.Stage{Dir: e.dir}).Text(t, name)
		stage.Put(t, name, text)
	}
	stage.Put(t, "bench.yaml", definitions(p, 0))
	cp := harness.NewControlPlane(t, stage.Dir)
	cp.Launch()
	eventually(t, cp.Process, "the control plane is ready", func() error {
		_, err := harness.Get("http://" + cp.Ops + "/readyz")
		return err
	})
	p.others = append(p.others, cp.Stop)
	p.Admin = harness.Loopback(t)
	bootstrap := e.write(t, dir, "bootstrap.yaml", harness.MustRun(t, filepath.Join(harness.Binaries(t), "sluice"),
		"bootstrap", "--server", cp.Addr, "--fleet", "default", "--id", "bench", "--admin", p.Admin))
	binary, arguments := logged(dir, binary, args(bootstrap)...)
	p.exec(t, binary, arguments...)
	p.edit = func(n int) error {
		stage.Put(t, "bench.yaml", definitions(p, n))
		return nil
	}
}

// definitions are the site in our language. The n-th edit has another route and another weight of the only endpoint.
func definitions(p *Proxy, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `kind: Gateway
name: web
listeners:
  - {name: http, address: 127.0.0.1, port: %[1]s, protocol: HTTP, idleTimeout: 0s, accessLog: {disabled: %[4]t}}
  - {name: https, address: 127.0.0.1, port: %[2]s, protocol: HTTPS, certificates: [bench], idleTimeout: 0s, accessLog: {disabled: %[4]t}}
  - {name: tcp, address: 127.0.0.1, port: %[3]s, protocol: TCP, backends: [{service: echo}], idleTimeout: 0s, accessLog: {disabled: %[4]t}}
---
{kind: Certificate, name: bench, files: {certificate: cert.pem, privateKey: key.pem}}
---
{kind: Service, name: origin, endpoints: [{address: "%[5]s", weight: %[6]d}]}
---
{kind: Service, name: h2, protocol: HTTP2, endpoints: ["%[7]s"]}
---
{kind: Service, name: grpc, protocol: HTTP2, endpoints: ["%[8]s"]}
---
{kind: Service, name: echo, endpoints: ["%[9]s"]}
`, port(p.HTTP), port(p.HTTPS), port(p.TCP), !p.Site.Log, p.Origin.HTTP1, n%2+1, p.Origin.HTTP2, p.Origin.GRPC, p.Origin.Echo)
	for _, r := range []struct{ name, host, service string }{{"origin", Host, "origin"}, {"h2", HostH2, "h2"}, {"grpc", HostGRPC, "grpc"}} {
		fmt.Fprintf(&b, "---\n{kind: Route, name: %s, gateways: [web], hosts: [%s], rules: [{backends: [{service: %s}]}]}\n", r.name, r.host, r.service)
	}
	if n > 0 {
		fmt.Fprintf(&b, "---\n{kind: Route, name: edit, gateways: [web], hosts: [edit-%d.test], rules: [{backends: [{service: origin}]}]}\n", n)
	}
	// A document has at most 1 MiB: Routes of one host are joined in the order of their names.
	for i := range p.Site.Routes {
		if i%routesPerDocument == 0 {
			fmt.Fprintf(&b, "---\nkind: Route\nname: many-%03d\ngateways: [web]\nhosts: [%s]\nrules:\n", i/routesPerDocument, HostMany)
		}
		fmt.Fprintf(&b, "  - {match: {path: {prefix: %s}}, backends: [{service: origin}]}\n", route(i))
	}
	for i := range p.Site.Hosts {
		fmt.Fprintf(&b, "---\nkind: Route\nname: host-%d\ngateways: [web]\nhosts: [%s]\nrules:\n", i, host(i))
		for j := range prefixesOfHost {
			fmt.Fprintf(&b, "  - {match: {path: {prefix: %s}}, backends: [{service: origin}]}\n", route(j))
		}
	}
	return b.String()
}

const routesPerDocument = 10000
