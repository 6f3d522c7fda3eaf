package bench

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func launchCaddy(e *Env, t *testing.T, p *Proxy) {
	dir := t.TempDir()
	binary, _ := caddy(t)
	path := e.write(t, dir, "Caddyfile", caddyConfig(e, p, dir))
	p.exec(t, "env", "HOME="+dir, binary, "run", "--config", path, "--adapter", "caddyfile")
}

// caddyConfig keeps connections on both sides. X-Forwarded-For and -Proto Caddy adds itself.
func caddyConfig(e *Env, p *Proxy, dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{\n admin off\n persist_config off\n auto_https off\n log {\n  output discard\n }\n servers {\n  timeouts {\n   idle 1h\n  }\n }\n}\n")
	for _, s := range []struct{ host, upstream string }{{Host, p.Origin.HTTP1}, {HostH2, "h2c://" + p.Origin.HTTP2}, {HostGRPC, "h2c://" + p.Origin.GRPC}} {
		log := ""
		if p.Site.Log {
			log = fmt.Sprintf(" log {\n  output file %s\n }\n", filepath.Join(dir, "access.log"))
		}
		handle := fmt.Sprintf(` bind 127.0.0.1
%s reverse_proxy %s {
  header_up X-Request-Id {http.request.uuid}
  transport http {
   keepalive 1h
   keepalive_idle_conns 1024
   keepalive_idle_conns_per_host 1024
   compression off
  }
 }
`, log, s.upstream)
		fmt.Fprintf(&b, "http://%s:%s {\n%s}\nhttps://%s:%s {\n tls %s %s\n%s}\n", s.host, port(p.HTTP), handle,
			s.host, port(p.HTTPS), filepath.Join(e.dir, "cert.pem"), filepath.Join(e.dir, "key.pem"), handle)
	}
	return b.String()
}
