package bench

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/load"
	"github.com/sluice-proxy/sluice/e2e/bench/origin"
)

// check asks for a path over HTTP/1.1, and wants a body of the origin's.
func (p *Proxy) check(host, path string, size int) error {
	return p.ask(http.MethodGet, "http", host, path, nil, origin.Body(size))
}

// checkUpload sends a body, and wants the origin's short answer.
func (p *Proxy) checkUpload(size int) error {
	return p.ask(http.MethodPost, "http", Host, "/", origin.Body(size), origin.Body(128))
}

// checkSecure asks over TLS, by HTTP/1.1 or HTTP/2.
func (p *Proxy) checkSecure(proto, host string) error {
	return p.ask(http.MethodGet, proto, host, "/", nil, origin.Body(128))
}

// checkGRPC makes a call, and wants its message and its status in the trailers.
func (p *Proxy) checkGRPC() error {
	return p.ask(http.MethodPost, "h2", HostGRPC, "/bench.Bench/Unary", origin.GRPCMessage(), origin.GRPCMessage())
}

// ask asks by a client of net/http, which is stricter than the load. proto is http, https or h2.
func (p *Proxy) ask(method, proto, host, path string, body, want []byte) error {
	addr, scheme := p.HTTP, "http"
	transport := &http.Transport{DisableCompression: true, Protocols: new(http.Protocols), DisableKeepAlives: proto != "h2"}
	transport.Protocols.SetHTTP1(proto != "h2")
	if proto != "http" {
		addr, scheme = p.HTTPS, "https"
		transport.TLSClientConfig = &tls.Config{ServerName: Host, InsecureSkipVerify: true} // self-signed, on loopback
		transport.Protocols.SetHTTP2(proto == "h2")
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	request, err := http.NewRequest(method, scheme+"://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Host = host
	grpc := host == HostGRPC
	if grpc {
		request.Header.Set("Content-Type", "application/grpc")
		request.Header.Set("TE", "trailers")
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: status %d: %.200q, want 200", host, path, response.StatusCode, got)
	case !bytes.Equal(got, want):
		return fmt.Errorf("%s %s: a body of %d bytes that is not the origin's %d", host, path, len(got), len(want))
	case proto == "h2" && response.ProtoMajor != 2:
		return fmt.Errorf("%s: %s, want HTTP/2", host, response.Proto)
	case grpc && response.Trailer.Get("Grpc-Status") != "0":
		return fmt.Errorf("%s: trailers %v, want grpc-status 0", host, response.Trailer)
	}
	return nil
}

// checkTCP sends bytes, and wants them back.
// checkWebSocket wants a switch, and a message back.
func (p *Proxy) checkWebSocket() error {
	l, err := load.Open(p.HTTP, 1, nil, load.Echo{Upgrade: load.Upgrade(Host, webSocketPath), Message: load.Message(origin.Body(128))})
	if err != nil {
		return err
	}
	defer l.Close()
	if _, _, err := l.Run(0); err != nil { // the switch alone
		return err
	}
	_, _, err = l.Run(0)
	return err
}

func (p *Proxy) checkTCP() error {
	conn, err := net.DialTimeout("tcp", p.TCP, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	want := strings.Repeat("echo", 32)
	if _, err := conn.Write([]byte(want)); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("tcp: got %q, want %q", got, want)
	}
	return nil
}
