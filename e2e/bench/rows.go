package bench

import (
	"fmt"

	"github.com/sluice-proxy/sluice/e2e/bench/load"
	"github.com/sluice-proxy/sluice/e2e/bench/origin"
)

var noTCP = map[string]string{
	"nginx":        "Debian packs TCP apart: apt-get install libnginx-mod-stream",
	"caddy":        "no TCP without a plug-in",
	"reverseproxy": "no TCP",
}

// Rows are all rows, in the order in which they run.
func Rows() []Row {
	var rows []Row
	secure := &load.Secure{ServerName: Host, ALPN: "http/1.1"}
	secureH2 := &load.Secure{ServerName: Host, ALPN: "h2"}
	get := load.HTTP1{Request: load.Get(Host, "/"), Size: 128}
	check := func(p *Proxy) error { return p.check(Host, "/", 128) }

	for _, n := range []int{8, 64, 512} {
		rows = append(rows, Row{
			Name: fmt.Sprintf("h1-%d", n), Title: fmt.Sprintf("HTTP/1.1, %d connections", n),
			Check: check, Load: steady(plainAddr, n, nil, get),
		})
	}
	rows = append(rows, Row{
		Name: "h1-64-log", Title: "HTTP/1.1, 64 connections, with an access log", Site: Site{Log: true},
		Lacks: map[string]string{"reverseproxy": "no access log"}, Check: check, Load: steady(plainAddr, 64, nil, get),
	}, Row{
		Name: "tls-64", Title: "HTTPS, HTTP/1.1, 64 connections",
		Check: func(p *Proxy) error { return p.checkSecure("https", Host) }, Load: steady(secureAddr, 64, secure, get),
	}, Row{
		Name: "tls-new", Title: "new TLS connection, one request, full handshake",
		Check: func(p *Proxy) error { return p.checkSecure("https", Host) }, Load: newConnections(*secure, false),
	}, Row{
		Name: "tls-resumed", Title: "new TLS connection, one request, resumed",
		Check: func(p *Proxy) error { return p.checkSecure("https", Host) }, Load: newConnections(*secure, true),
	}, Row{
		Name: "h2-h1", Title: "HTTP/2 over TLS, 16 × 16 streams, to HTTP/1.1",
		Check: func(p *Proxy) error { return p.checkSecure("h2", Host) },
		Load:  steady(secureAddr, 16, secureH2, load.HTTP2{Streams: 16, Fields: load.GetFields(Host, "/"), Size: 128}),
	}, Row{
		Name: "h2-h2", Title: "HTTP/2 over TLS, 16 × 16 streams, to HTTP/2",
		Check: func(p *Proxy) error { return p.checkSecure("h2", HostH2) },
		Load:  steady(secureAddr, 16, secureH2, load.HTTP2{Streams: 16, Fields: load.GetFields(HostH2, "/"), Size: 128}),
	}, Row{
		Name: "grpc", Title: "gRPC unary over TLS, 16 × 16 streams",
		Check: (*Proxy).checkGRPC,
		Load: steady(secureAddr, 16, secureH2, load.HTTP2{
			Streams: 16, Fields: load.GRPCFields(HostGRPC), Body: origin.GRPCMessage(), Size: len(origin.GRPCMessage()),
		}),
	})
	for _, size := range []struct {
		name  string
		bytes int
	}{{"16k", 16 << 10}, {"64k", 64 << 10}, {"1m", 1 << 20}} {
		path := fmt.Sprintf("/b/%d", size.bytes)
		rows = append(rows, Row{
			Name: "down-" + size.name, Title: fmt.Sprintf("download of %d KiB, 16 connections", size.bytes>>10),
			Check: func(p *Proxy) error { return p.check(Host, path, size.bytes) },
			Load:  steady(plainAddr, 16, nil, load.HTTP1{Request: load.Get(Host, path), Size: size.bytes}),
		}, Row{
			Name: "up-" + size.name, Title: fmt.Sprintf("upload of %d KiB, 16 connections", size.bytes>>10),
			Check: func(p *Proxy) error { return p.checkUpload(size.bytes) },
			Load:  steady(plainAddr, 16, nil, load.HTTP1{Request: load.Post(Host, "/", origin.Body(size.bytes)), Size: 128}),
		})
	}
	rows = append(rows, Row{
		Name: "tcp-128", Title: "TCP, 128 bytes to and fro, 64 connections", Lacks: noTCP,
		Check: (*Proxy).checkTCP, Load: steady(tcpAddr, 64, nil, load.Echo{Message: origin.Body(128)}),
	}, Row{
		Name: "tcp-1m", Title: "TCP, 1 MiB to and fro, 8 connections", Lacks: noTCP,
		Check: (*Proxy).checkTCP, Load: steady(tcpAddr, 8, nil, load.Echo{Message: origin.Body(1 << 20)}),
	})
	rows = append(rows, Row{
		Name: "websocket", Title: "WebSocket messages of 128 bytes, 64 connections",
		Check: (*Proxy).checkWebSocket,
		Load:  steady(plainAddr, 64, nil, load.Echo{Upgrade: load.Upgrade(Host, webSocketPath), Message: load.Message(origin.Body(128))}),
	})
	rows = append(rows, idleRows(get, secure, secureH2)...)
	rows = append(rows, routeRows()...)
	return append(rows, pacedRows(get)...)
}

// webSocketPath is where peers switch that must be told.
const webSocketPath = "/ws"

func plainAddr(p *Proxy) string  { return p.HTTP }
func secureAddr(p *Proxy) string { return p.HTTPS }
func tcpAddr(p *Proxy) string    { return p.TCP }

// steady is a load over connections that stay.
func steady(addr func(*Proxy) string, conns int, secure *load.Secure, kind load.Kind) func(*Proxy) (Load, error) {
	return func(p *Proxy) (Load, error) { return load.Open(addr(p), conns, secure, kind) }
}

// newConnections is one of TLS connections that are made, used once and closed.
func newConnections(s load.Secure, resume bool) func(*Proxy) (Load, error) {
	return func(p *Proxy) (Load, error) {
		return load.NewConnections(p.HTTPS, s, load.Get(Host, "/"), 128, 8, resume)
	}
}
