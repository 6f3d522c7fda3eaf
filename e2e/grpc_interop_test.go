package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

const interopDefinitions = `-- definitions.yaml --
kind: Gateway
name: web
listeners:
  - {name: http, address: 127.0.0.1, port: {{port "http"}}, protocol: HTTP}
  - {name: https, address: 127.0.0.1, port: {{port "https"}}, protocol: HTTPS, certificates: [web]}
---
{kind: Service, name: interop, hosts: ["*"], gateways: [web], protocol: HTTP2, endpoints: ["127.0.0.1:{{port "server"}}"]}
---
{kind: Certificate, name: web, files: {certificate: web.crt, privateKey: web.key}}
`

// interopCases are those of https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md that the client of
// grpc-go knows and that need neither credentials nor a server that tells its name (pick_first_unary).
var interopCases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream",
	"timeout_on_sleeping_server", "cancel_after_begin", "cancel_after_first_response",
	"status_code_and_message", "special_status_message", "custom_metadata", "unimplemented_method", "unimplemented_service",
	"orca_per_rpc", "orca_oob", "rpc_soak", "channel_soak",
}

// TestGRPCInterop runs gRPC's own interoperability tests, client and server of grpc-go, through each kind of proxy, in
// plaintext and over TLS.
func TestGRPCInterop(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds gRPC's client and server")
	}
	bin := t.TempDir() + string(filepath.Separator)
	build := exec.Command("go", "build", "-modfile=tools.mod", "-o", bin,
		"google.golang.org/grpc/interop/client", "google.golang.org/grpc/interop/server")
	build.Dir = harness.Root(t)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			interop(t, kind, bin)
		})
	}
}

func interop(t *testing.T, kind, bin string) {
	authority := harness.NewAuthority(t)
	certificate, key := authority.Server(t)
	stage := harness.NewStage(t, txtar.Parse([]byte(interopDefinitions)).Files)
	stage.Put(t, "web.crt", certificate)
	stage.Put(t, "web.key", key)
	ca := filepath.Join(stage.Dir, "ca.pem")
	stage.Put(t, "ca.pem", authority.PEM)

	server := harness.Start(t, "interop server", bin+"server", fmt.Sprintf("--port=%d", stage.Ports["server"]))
	harness.Eventually(t, server, "listen", func() error {
		c, err := net.Dial("tcp", stage.Addr(t, "127.0.0.1", "server"))
		if err == nil {
			err = c.Close()
		}
		return err
	})
	cp := harness.StartControlPlane(t, stage.Dir)
	harness.StartProxy(t, kind, cp.Addr, "default", kind).WaitReady()
	cp.WaitSynced("default", 1)

	for _, listener := range []string{"http", "https"} {
		for _, name := range interopCases {
			t.Run(listener+"/"+name, func(t *testing.T) {
				args := []string{
					"--server_host=127.0.0.1", "--server_port=" + strconv.Itoa(stage.Ports[listener]), "--test_case=" + name,
					// How fast it is says nothing about who understands whom.
					"--soak_iterations=20", "--soak_num_threads=4",
					"--soak_per_iteration_max_acceptable_latency_ms=20000", "--soak_overall_timeout_seconds=25",
				}
				if strings.HasPrefix(name, "orca") {
					args = append(args, `--service_config_json={"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`)
				}
				if listener == "https" {
					args = append(args, "--use_tls", "--use_test_ca", "--ca_file="+ca)
				}
				r := harness.Run(t, bin+"client", args...)
				if r.Code != 0 {
					t.Errorf("client %s: exit status %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
				}
			})
		}
	}
}
