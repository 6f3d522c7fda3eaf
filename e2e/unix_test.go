package e2e

import (
	"strings"
	"testing"

	"github.com/sluice-proxy/sluice/e2e/harness"
)

// TestUnixEndpointLogged: an access log has the path of an endpoint that is a unix socket, without more.
func TestUnixEndpointLogged(t *testing.T) {
	scenario, err := harness.ReadScenario("testdata/unix-endpoint.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			stage := harness.NewStage(t, scenario.Files)
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			stage.Play(t, scenario.Exchanges[0])
			proxy.WaitLog(`"upstream":"` + strings.TrimPrefix(stage.Upstreams["v1"].Addr, "unix:") + `"`)
		})
	}
}

// TestUnixListenerLogged: the client of a unix socket has no address: the socket's path stands for it.
func TestUnixListenerLogged(t *testing.T) {
	scenario, err := harness.ReadScenario("testdata/unix-listener.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range harness.Kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			stage := harness.NewStage(t, scenario.Files)
			cp := harness.StartControlPlane(t, stage.Dir)
			proxy := harness.StartProxy(t, kind, cp.Addr, "default", kind)
			proxy.WaitReady()
			cp.WaitSynced("default", 1)
			stage.Play(t, scenario.Exchanges[0])
			path := stage.Sockets["web"]
			proxy.WaitLog(`"client":"` + path + `"`)
			proxy.WaitLog(`"local":"` + path + `"`)
		})
	}
}
