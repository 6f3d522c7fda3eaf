package bench

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func launchHAProxy(e *Env, t *testing.T, p *Proxy) {
	dir := t.TempDir()
	found, _ := inPath("haproxy")(t)
	path := e.write(t, dir, "haproxy.cfg", haproxyConfig(e, p, dir, 0))
	var routes strings.Builder
	for i := range p.Site.Routes {
		fmt.Fprintf(&routes, "%s/ origin\n", route(i))
	}
	e.write(t, dir, "routes.map", routes.String())
	var hosts strings.Builder
	for i := range p.Site.Hosts {
		for j := range prefixesOfHost {
			fmt.Fprintf(&hosts, "%s%s/ origin\n", host(i), route(j))
		}
	}
	e.write(t, dir, "hosts.map", hosts.String())
	// -W: a master, whose SIGUSR2 reloads.
	binary, arguments := logged(dir, found, "-W", "-f", path)
	p.exec(t, binary, arguments...)
	p.edit = func(n int) error {
		e.write(t, dir, "haproxy.cfg", haproxyConfig(e, p, dir, n))
		p.process.Signal(syscall.SIGUSR2)
		return nil
	}
}

// haproxyConfig keeps connections on both sides, and says as much to the upstream as ours.
func haproxyConfig(e *Env, p *Proxy, dir string, n int) string {
	var b strings.Builder
	fmt.Fprint(&b, `global
  nbthread 1
  maxconn 7500
`)
	log := ""
	if p.Site.Log {
		fmt.Fprint(&b, "  log stdout format raw local0\n")
		log = `  log global
  log-format '{"start_time":"%tr","duration_ms":%Ta,"method":"%HM","authority":"%[capture.req.hdr(0),json(utf8s)]","path":"%HU","protocol":"%HV","status":%ST,"flags":"%ts","bytes_received":%U,"bytes_sent":%B,"upstream":"%si:%sp","cluster":"%b","client":"%ci:%cp","local":"%fi:%fp","request_id":"%ID","user_agent":"%[capture.req.hdr(1),json(utf8s)]","tls_version":"%sslv","listener":"%f"}'
  capture request header Host len 64
  capture request header User-Agent len 64
`
	}
	fmt.Fprintf(&b, `defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  http-reuse always
frontend web
  bind %s
  bind %s ssl crt %s alpn h2,http/1.1
%s  option forwardfor
  unique-id-format %%[uuid()]
  unique-id-header X-Request-Id
  http-request set-header X-Forwarded-Proto https if { ssl_fc }
  http-request set-header X-Forwarded-Proto http unless { ssl_fc }
  use_backend h2 if { req.hdr(host) %s }
  use_backend grpc if { req.hdr(host) %s }
`, p.HTTP, p.HTTPS, filepath.Join(e.dir, "both.pem"), log, HostH2, HostGRPC)
	if n > 0 {
		fmt.Fprintf(&b, "  use_backend origin if { req.hdr(host) edit-%d.test }\n", n)
	}
	if p.Site.Routes > 0 {
		fmt.Fprintf(&b, "  use_backend %%[path,map_beg(%s)] if { req.hdr(host) %s }\n", filepath.Join(dir, "routes.map"), HostMany)
	}
	if p.Site.Hosts > 0 {
		fmt.Fprintf(&b, "  use_backend %%[base,map_beg(%s)] if { req.hdr(host) -m end .many.bench.test }\n", filepath.Join(dir, "hosts.map"))
	}
	fmt.Fprintf(&b, `  default_backend origin
backend origin
  server one %s
backend h2
  server one %s proto h2
backend grpc
  server one %s proto h2
listen tcp
  mode tcp
  bind %s
  option splice-auto
  server one %s
`, p.Origin.HTTP1, p.Origin.HTTP2, p.Origin.GRPC, p.TCP, p.Origin.Echo)
	return b.String()
}
