package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	luapb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/e2e/harness"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// nacks is another control plane's ear: it tells what proxies refuse.
type nacks struct{ refused, accepted chan string }

func (n nacks) StreamOpened(server.StreamID, string) {}
func (n nacks) StreamClosed(server.StreamID)         {}
func (n nacks) Node(server.StreamID, server.Node)    {}
func (n nacks) Sent(server.StreamID, string, string) {}
func (n nacks) Acked(_ server.StreamID, typeURL, version string) {
	if typeURL == resource.ListenerType {
		tell(n.accepted, version)
	}
}
func (n nacks) Nacked(_ server.StreamID, _, _, message string) { tell(n.refused, message) }

func tell(c chan string, text string) {
	select {
	case c <- text:
	default:
	}
}

// TestForeignFilter: another control plane sends a listener with a Lua filter, which the Go proxy does not have. It
// refuses the listener, by name, field and type; what it had serves on; and it takes the next one that it can do.
func TestForeignFilter(t *testing.T) {
	for _, mode := range []string{"delta", "sotw"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := stagePair(t)
			resources := resourcesOf(t, p.stage.Text(t, "split.yaml"), harness.Go)
			cache := snapshot.NewCache()
			publish := func() {
				s, err := snapshot.Build(resources, cache.Get(harness.Go))
				if err != nil {
					t.Fatal(err)
				}
				cache.SetAll(map[string]*snapshot.Snapshot{harness.Go: s})
			}
			publish()
			ear := nacks{refused: make(chan string, 100), accepted: make(chan string, 100)}
			addr := serveXDS(t, cache, ear)
			args := []string{}
			if mode == "sotw" {
				args = append(args, "--sotw")
			}
			proxy := harness.StartProxy(t, harness.Go, addr, harness.Go, "go-1", args...)
			proxy.WaitReady()
			stop := p.loader(t, harness.Go, 2).Background(2)

			plain := resources[resource.ListenerType]
			resources[resource.ListenerType] = map[string]proto.Message{}
			for name, m := range plain {
				resources[resource.ListenerType][name] = withLua(t, m)
			}
			publish()
			message := hear(t, ear.refused)
			t.Logf("NACK: %s", message)
			for _, want := range []string{"listener \"127.0.0.1:", "filter_chains[0].filters[0]", "http_filters[0]", "got envoy.filters.http.lua", "not supported"} {
				if !strings.Contains(message, want) {
					t.Errorf("NACK: want %q in %q", want, message)
				}
			}
			if dump := proxy.AdminGet("/config_dump"); strings.Contains(dump, "filters.http.lua.v3.Lua") && !strings.Contains(dump, "error_state") {
				t.Errorf("the refused listener stands in /config_dump without its error")
			}
			// A NACK is parked: nothing more comes until something changes.
			drain(ear.accepted)
			if err := fine(p.loader(t, harness.Go, 2).Run(100, 2)); err != nil {
				t.Errorf("while it is refused: %v", err)
			}
			resources[resource.ListenerType] = plain
			publish()
			hear(t, ear.accepted)
			if err := fine(stop()); err != nil {
				t.Errorf("all the while: %v", err)
			}
			if n := len(ear.refused); n > 0 {
				t.Errorf("%d more NACKs, want one", n)
			}
		})
	}
}

func hear(t *testing.T, c chan string) string {
	t.Helper()
	select {
	case text := <-c:
		return text
	case <-time.After(harness.Patience):
		t.Fatal("nothing was heard from the proxy")
		return ""
	}
}

func drain(c chan string) {
	for len(c) > 0 {
		<-c
	}
}

// resourcesOf is what a fleet gets of definitions.
func resourcesOf(t *testing.T, text, fleet string) translate.Resources {
	t.Helper()
	documents, problems := definition.Parse("foreign.yaml", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	for _, f := range compile.Compile(compile.Input{Documents: documents}).Fleets {
		if f.Name == fleet {
			resources, err := translate.Fleet(f)
			if err != nil {
				t.Fatal(err)
			}
			return resources
		}
	}
	t.Fatalf("no fleet %s", fleet)
	return nil
}

// serveXDS serves a cache on loopback.
func serveXDS(t *testing.T, cache *snapshot.Cache, observer server.Observer) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	xds := server.New(server.Options{Cache: cache, Observer: observer})
	rpc := grpc.NewServer(server.ServerOptions()...)
	xds.Register(rpc)
	go func() { _ = rpc.Serve(l) }()
	t.Cleanup(func() {
		xds.Close()
		rpc.Stop()
	})
	return l.Addr().String()
}

// withLua puts a Lua filter before the others of a listener's connection manager.
func withLua(t *testing.T, m proto.Message) proto.Message {
	t.Helper()
	l := proto.Clone(m).(*listenerpb.Listener)
	filter := l.GetFilterChains()[0].GetFilters()[0]
	var hcm hcmpb.HttpConnectionManager
	if err := filter.GetTypedConfig().UnmarshalTo(&hcm); err != nil {
		t.Fatal(err)
	}
	lua, err := anypb.New(&luapb.Lua{})
	if err != nil {
		t.Fatal(err)
	}
	hcm.HttpFilters = append([]*hcmpb.HttpFilter{{
		Name: "envoy.filters.http.lua", ConfigType: &hcmpb.HttpFilter_TypedConfig{TypedConfig: lua},
	}}, hcm.GetHttpFilters()...)
	packed, err := anypb.New(&hcm)
	if err != nil {
		t.Fatal(err)
	}
	filter.ConfigType = &listenerpb.Filter_TypedConfig{TypedConfig: packed}
	return l
}
