package bench

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func launchNginx(e *Env, t *testing.T, p *Proxy) {
	dir := t.TempDir()
	binary, _ := inPath("nginx")(t)
	path := e.write(t, dir, "nginx.conf", nginxConfig(e, p, dir, 0))
	p.exec(t, binary, "-p", dir, "-c", path)
	p.edit = func(n int) error {
		e.write(t, dir, "nginx.conf", nginxConfig(e, p, dir, n))
		p.process.Signal(syscall.SIGHUP)
		return nil
	}
}

// nginxStream is the module for TCP, which Debian packs by itself.
const nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"

// nginxConfig keeps connections on both sides for ever, passes bodies on as they come, and says as much to the upstream
// as ours: X-Forwarded-For, X-Forwarded-Proto and X-Request-Id.
func nginxConfig(e *Env, p *Proxy, dir string, n int) string {
	var b strings.Builder
	if exists(nginxStream) {
		fmt.Fprintf(&b, "load_module %s;\n", nginxStream)
	}
	fmt.Fprintf(&b, `daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log stderr error;
events { worker_connections 16000; multi_accept on; }
`)
	if exists(nginxStream) {
		fmt.Fprintf(&b, "stream { server { listen %s; tcp_nodelay on; proxy_timeout 1h; proxy_pass %s; } }\n", p.TCP, p.Origin.Echo)
	}
	log := "off"
	if p.Site.Log {
		log = "access.log json buffer=64k flush=1s"
	}
	fmt.Fprintf(&b, `http {
  log_format json escape=json '{"start_time":"$time_iso8601","duration":"$request_time","method":"$request_method","authority":"$http_host",'
    '"path":"$request_uri","protocol":"$server_protocol","status":$status,"bytes_received":$request_length,"bytes_sent":$body_bytes_sent,'
    '"upstream":"$upstream_addr","client":"$remote_addr:$remote_port","local":"$server_addr:$server_port","forwarded_for":"$http_x_forwarded_for",'
    '"request_id":"$request_id","user_agent":"$http_user_agent","sni":"$ssl_server_name","tls_version":"$ssl_protocol","listener":"$server_name"}';
  access_log %s;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  keepalive_requests 1000000000; keepalive_timeout 1h; client_max_body_size 0; tcp_nodelay on; server_tokens off;
  server_names_hash_max_size 4096; variables_hash_max_size 4096;
  ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:10m;
  proxy_http_version 1.1; proxy_request_buffering off; proxy_max_temp_file_size 0; proxy_read_timeout 1h;
  proxy_set_header Host $http_host; proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id;
  grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for; grpc_set_header X-Forwarded-Proto $scheme; grpc_set_header X-Request-Id $request_id;
`, log, filepath.Join(e.dir, "cert.pem"), filepath.Join(e.dir, "key.pem"))
	for _, up := range []struct{ name, addr string }{{"origin", p.Origin.HTTP1}, {"h2", p.Origin.HTTP2}, {"grpc", p.Origin.GRPC}} {
		fmt.Fprintf(&b, "  upstream %s { server %s; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 1h; }\n", up.name, up.addr)
	}
	server := func(host, locations string) {
		fmt.Fprintf(&b, "  server { listen %s; listen %s ssl http2; server_name %s;\n%s  }\n", p.HTTP, p.HTTPS, host, locations)
	}
	// What a location sets replaces all that it would inherit.
	server(Host, "    location / { proxy_pass http://origin; }\n    location "+webSocketPath+` { proxy_pass http://origin;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-Id $request_id; }
`)
	server(HostH2, "    location / { grpc_pass grpc://h2; }\n")
	server(HostGRPC, "    location / { grpc_pass grpc://grpc; }\n")
	if n > 0 {
		server(fmt.Sprintf("edit-%d.test", n), "    location / { proxy_pass http://origin; }\n")
	}
	if p.Site.Routes > 0 {
		var locations strings.Builder
		for i := range p.Site.Routes {
			fmt.Fprintf(&locations, "    location %s/ { proxy_pass http://origin; }\n", route(i))
		}
		server(HostMany, locations.String())
	}
	for i := range p.Site.Hosts {
		var locations strings.Builder
		for j := range prefixesOfHost {
			fmt.Fprintf(&locations, "    location %s/ { proxy_pass http://origin; }\n", route(j))
		}
		server(host(i), locations.String())
	}
	b.WriteString("}\n")
	return b.String()
}
