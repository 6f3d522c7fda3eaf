package bench

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/bench/origin"
)

func launchReverseProxy(e *Env, t *testing.T, p *Proxy) {
	p.exec(t, "env", "SLUICE_BENCH_ROLE=reverseproxy", os.Args[0], p.HTTP, p.HTTPS,
		p.Origin.HTTP1, p.Origin.HTTP2, p.Origin.GRPC, filepath.Join(e.dir, "cert.pem"), filepath.Join(e.dir, "key.pem"))
}

// Role runs what this program is started for as a child: origin, or reverseproxy. It returns only with an error.
func Role(name string, args []string) error {
	switch {
	case name == "origin" && len(args) == 4:
		return origin.Serve(origin.Addresses{HTTP1: args[0], HTTP2: args[1], GRPC: args[2], Echo: args[3]})
	case name == "reverseproxy" && len(args) == 7:
		return reverseProxy(args[0], args[1], args[2:5], args[5], args[6])
	}
	return fmt.Errorf("bench: got the role %q with %q, want origin or reverseproxy with their addresses", name, args)
}

// reverseProxy is net/http's, as its documentation shows it, with idle connections enough for the load.
func reverseProxy(plain, secure string, upstreams []string, certificate, key string) error {
	hosts := map[string]*httputil.ReverseProxy{}
	for i, host := range []string{Host, HostH2, HostGRPC} {
		transport := &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, DisableCompression: true, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(i == 0)
		transport.Protocols.SetUnencryptedHTTP2(i > 0)
		target := &url.URL{Scheme: "http", Host: upstreams[i]}
		hosts[host] = &httputil.ReverseProxy{
			Transport: transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Host = r.In.Host
				r.SetXForwarded()
				r.Out.Header.Set("X-Request-Id", rand.Text())
			},
		}
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if proxy := hosts[r.Host]; proxy != nil {
			proxy.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})}
	listeners := make([]net.Listener, 2)
	for i, addr := range []string{plain, secure} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		listeners[i] = l
	}
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(listeners[0]) }()
	go func() { ended <- server.ServeTLS(listeners[1], certificate, key) }()
	return <-ended
}
