package dataplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/dataplane"
)

const staticTCP = `
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
overload_manager:
  resource_monitors:
  - name: all
    typed_config: {"@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: %d}
static_resources:
  clusters:
  - {name: u, type: STATIC, connect_timeout: 1s, load_assignment: {cluster_name: u, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]}}
  listeners:
  - name: tcp
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains: [{filters: [{name: t, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: u}}]}]
`

// TestProcessLimits: the bootstrap's bound on all connections, and the flag's for each client, reach the sockets.
func TestProcessLimits(t *testing.T) {
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	go func() {
		for {
			c, err := up.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	_, port, _ := net.SplitHostPort(up.Addr().String())
	for name, test := range map[string]struct {
		all, client int
		reason      string
	}{
		"in all":       {1, 0, "connections"},
		"for a client": {1_000_000_000, 1, "client"},
	} {
		t.Run(name, func(t *testing.T) {
			var logged bytes.Buffer
			ctx, cancel := context.WithCancel(t.Context())
			ended, ready, admin := make(chan error, 1), make(chan struct{}), make(chan string, 1)
			go func() {
				ended <- dataplane.Run(ctx, dataplane.Options{
					Bootstrap: fmt.Appendf(nil, staticTCP, test.all, port), MaxConnectionsPerClient: test.client,
					DrainTime: time.Second, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
					Listening: func(a net.Addr) { admin <- a.String() }, Ready: func() { close(ready) },
				})
			}()
			url := "http://" + <-admin
			<-ready
			address := strings.TrimSpace(strings.TrimPrefix(page(t, url+"/listeners"), "tcp::"))
			first, second := echo(t, address), echo(t, address)
			defer first.Close()
			defer second.Close()
			if got := say(first); got != "x" {
				t.Errorf("the first connection: got %q", got)
			}
			if got := say(second); got != "" {
				t.Errorf("one too many: got %q, want it closed", got)
			}
			if text := page(t, url+"/stats/prometheus"); !strings.Contains(text, `refused_total{listener="tcp",reason="`+test.reason+`"} 1`) {
				t.Errorf("metrics do not tell of it:\n%s", text)
			}
			first.Close()
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if lowered := strings.Contains(logged.String(), "fewer connections than the bootstrap allows"); lowered != (test.all > 1) {
				t.Errorf("log: %s", &logged)
			}
			http.DefaultClient.CloseIdleConnections()
		})
	}
}

func echo(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// say writes x, and reads as much.
func say(conn net.Conn) string {
	b := make([]byte, 1)
	_, _ = conn.Write([]byte("x"))
	n, err := conn.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		return err.Error()
	}
	return string(b[:n])
}

func page(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
