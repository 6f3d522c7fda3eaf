package torture

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"github.com/sluice-proxy/sluice/dataplane/http1/http1test"
	"github.com/sluice-proxy/sluice/e2e/harness"
)

// peers are the proxies, ours first. Those of Debian are asked for by name, and left out where they are not.
func peers(t *testing.T) []peer {
	return []peer{
		{harness.Go, xds(harness.Go), []string{filepath.Join(harness.Binaries(t), "sluice-proxy"), "--version"}, true},
		{"nginx", startNginx, []string{"nginx", "-v"}, false},
		{"haproxy", startHAProxy, []string{"haproxy", "-v"}, false},
		{harness.Envoy, xds(harness.Envoy), []string{harness.EnvoyBinary(t), "--version"}, false},
	}
}

// write fills a template in, and returns the file's path.
func write(t *testing.T, text string, values map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := template.Must(template.New("").Parse(text)).Execute(f, values); err != nil {
		t.Fatal(err)
	}
	return path
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// bootstrap serves the Go proxy and Envoy alike: what our control plane tells them, as far as it matters here, and a
// second listener that serves HTTP/1.0.
const bootstrap = `
node: {id: torture, cluster: torture}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: {{.admin}}}}}
static_resources:
  listeners:
{{- range $i, $port := .listeners}}
  - name: listener-{{$i}}
    enable_reuse_port: true
    address: {socket_address: {address: 127.0.0.1, port_value: {{$port}}}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: x
          use_remote_address: true
          generate_request_id: true
          normalize_path: true
          server_header_transformation: PASS_THROUGH
          common_http_protocol_options: {idle_timeout: 300s, max_headers_count: 100}
          http_protocol_options: {enable_trailers: true, accept_http_10: {{if eq $i 1}}true{{else}}false{{end}}}
          max_request_headers_kb: 60
          stream_idle_timeout: 300s
          request_headers_timeout: 10s
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              suppress_envoy_headers: true
          route_config:
            name: routes
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{name: all, match: {prefix: /}, route: {cluster: origin, timeout: 0s}}]
{{- end}}
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: origin
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{.origin}}}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {enable_trailers: true}}
`

func xds(kind string) func(*testing.T, string) *http1test.Proxy {
	return func(t *testing.T, origin string) *http1test.Proxy {
		addr, http10, admin := harness.Loopback(t), harness.Loopback(t), harness.Loopback(t)
		text := template.Must(template.New("").Parse(bootstrap))
		path := filepath.Join(t.TempDir(), "bootstrap.yaml")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := text.Execute(f, map[string]any{
			"admin": portOf(admin), "origin": portOf(origin), "listeners": []string{portOf(addr), portOf(http10)},
		}); err != nil {
			t.Fatal(err)
		}
		harness.StartProxyFrom(t, kind, path, admin).WaitReady()
		return &http1test.Proxy{Addr: addr, HTTP10: http10}
	}
}

// startNginx runs it as its documentation has a reverse proxy run.
func startNginx(t *testing.T, origin string) *http1test.Proxy {
	addr := harness.Loopback(t)
	user := "root"
	if os.Getuid() != 0 {
		user = strconv.Itoa(os.Getuid()) // of no consequence: only root may change it
	}
	path := write(t, `user {{.user}};
daemon off;
worker_processes 1;
pid {{.dir}}/pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path {{.dir}}/body;
  proxy_temp_path {{.dir}}/proxy;
  fastcgi_temp_path {{.dir}}/fastcgi;
  uwsgi_temp_path {{.dir}}/uwsgi;
  scgi_temp_path {{.dir}}/scgi;
  upstream origin { server {{.origin}}; keepalive 16; }
  server {
    listen {{.addr}};
    client_max_body_size 0;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
    }
  }
}
`, map[string]string{"user": user, "dir": t.TempDir(), "origin": origin, "addr": addr})
	harness.Start(t, "nginx", "nginx", "-c", path)
	return &http1test.Proxy{Addr: addr, HTTP10: addr}
}

func startHAProxy(t *testing.T, origin string) *http1test.Proxy {
	addr := harness.Loopback(t)
	path := write(t, `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
frontend web
  bind {{.addr}}
  default_backend origin
backend origin
  server origin {{.origin}}
`, map[string]string{"origin": origin, "addr": addr})
	harness.Start(t, "haproxy", "haproxy", "-db", "-f", path)
	return &http1test.Proxy{Addr: addr, HTTP10: addr}
}
