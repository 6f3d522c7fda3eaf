package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoverypb "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/sluice-proxy/sluice/e2e/harness"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// TestQuarantineChaos: 500 good documents, which are edited all the while, and five that proxies refuse; proxies of both
// kinds in one fleet join and leave, strangers of the same kinds refuse at random what is good, and the control plane is
// killed. In the end every proxy has all good documents and none of the bad, and status says so, and names the bad.
//
// CHAOS is how long it lasts; `make chaos` is two minutes.
func TestQuarantineChaos(t *testing.T) {
	length, kills := 8*time.Second, 1
	if text := os.Getenv("CHAOS"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS: %v", err)
		}
		kills = 3
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := &chaos{t: t, rnd: rand.New(rand.NewPCG(seed, 2)), files: map[int]int{}, ids: map[*harness.Proxy]string{}, proxies: map[string][]*harness.Proxy{}}
	c.stage = harness.NewStage(t, nil)
	c.write("gateways.yaml", "kind: Gateway\nname: web\nfleet: edge\nlisteners: [{name: http, address: 127.0.0.1, port: {{port \"http\"}}, protocol: HTTP}]\n---\n"+c.extra("127.0.0.1"))
	for i := range chaosRoutes {
		c.edit(i)
	}
	c.cp = harness.StartControlPlane(t, c.stage.Dir)
	for _, kind := range harness.Kinds {
		c.join(kind)
	}
	c.cp.WaitSynced("edge", 2)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var strangers sync.WaitGroup
	for i, agent := range []string{"envoy", "sluice-proxy", "envoy"} {
		strangers.Go(func() { c.stranger(ctx, i, agent, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	start := time.Now()
	bad, killed := 0, 0
	for since := time.Duration(0); since < length; since = time.Since(start) {
		if due := int(since * 6 / length); bad < due && bad < 5 {
			c.bad(bad)
			bad++
		}
		if due := int(since * time.Duration(kills+1) / length); killed < due && killed < kills {
			c.cp.Kill()
			c.cp.Launch()
			killed++
		}
		switch kind := harness.Kinds[c.rnd.IntN(2)]; c.rnd.IntN(6) {
		case 0:
			if len(c.proxies[kind]) < 2 {
				c.join(kind)
			}
		case 1:
			c.leave(kind)
		default:
			c.edit(c.rnd.IntN(chaosRoutes))
		}
		time.Sleep(time.Duration(100+c.rnd.IntN(500)) * time.Millisecond) // the pace of the chaos; nothing is waited for
	}
	for ; bad < 5; bad++ {
		c.bad(bad)
	}
	cancel()
	strangers.Wait()
	for _, kind := range harness.Kinds {
		if len(c.proxies[kind]) == 0 {
			c.join(kind)
		}
	}
	c.cp.WaitReady()
	t.Logf("%d edits, %d proxies joined, %d refusals by strangers, %d kills", c.edits, c.joined, c.refused.Load(), killed)

	// A good document that strangers made look bad is heard again when they are gone, a while after the last time.
	end := time.Now()
	for err := c.settled(); err != nil; err = c.settled() {
		if time.Since(end) > 2*time.Minute {
			t.Fatalf("not settled: %v\n%s", err, c.cp.Sluice("status"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("settled %v after the end; %v refusals in all since the last kill", time.Since(end).Round(time.Millisecond),
		harness.Sum(t, mustGet(t, "http://"+c.cp.Ops+"/metrics"), `sluice_controlplane_nacks_total\{.*\}`))
}

// chaosRoutes is how many Routes there are, each with a Service of its own.
const chaosRoutes = 250

type chaos struct {
	t       *testing.T
	rnd     *rand.Rand
	stage   *harness.Stage
	cp      *harness.ControlPlane
	files   map[int]int // the version of each route
	proxies map[string][]*harness.Proxy
	ids     map[*harness.Proxy]string
	joined  int
	edits   int
	refused atomic.Int64
}

func (c *chaos) write(name, text string) {
	c.stage.Write(c.t, []txtar.File{{Name: name, Data: []byte(text)}})
}

func (c *chaos) extra(address string) string {
	return fmt.Sprintf("kind: Gateway\nname: extra\nfleet: edge\nlisteners: [{name: http, address: %s, port: {{port \"extra\"}}, protocol: HTTP}]\n", address)
}

// edit makes a route anew: what version it is stands in its host.
func (c *chaos) edit(i int) {
	c.files[i]++
	c.edits++
	c.write(fmt.Sprintf("r%d.yaml", i), fmt.Sprintf("kind: Service\nname: s%d\nendpoints: [127.0.0.1:%d]\n---\nkind: Route\nname: r%d\ngateways: [web, extra]\nhosts: [v%d.h%d.example.com]\nrules: [{backends: [{service: s%d}]}]\n",
		i, 1+c.files[i], i, c.files[i], i, i))
}

// bad writes a document that every proxy refuses: four are new, the last is an edit.
func (c *chaos) bad(i int) {
	if i == 4 {
		c.write("gateways.yaml", strings.Split(c.stage.Text(c.t, "gateways.yaml"), "---\n")[0]+"---\n"+c.extra("203.0.113.4"))
		return
	}
	c.write(fmt.Sprintf("bad%d.yaml", i), fmt.Sprintf("kind: Gateway\nname: bad%d\nfleet: edge\nlisteners: [{name: http, address: 203.0.113.%d, port: 18081, protocol: HTTP}]\n", i, i))
}

func (c *chaos) join(kind string) {
	c.joined++
	p := harness.StartProxy(c.t, kind, c.cp.Addr, "edge", fmt.Sprintf("%s-%d", kind, c.joined))
	c.ids[p] = fmt.Sprintf("%s-%d", kind, c.joined)
	c.proxies[kind] = append(c.proxies[kind], p)
}

func (c *chaos) leave(kind string) {
	if all := c.proxies[kind]; len(all) > 0 {
		all[0].Kill()
		c.proxies[kind] = all[1:]
	}
}

// stranger comes and goes under ever new names, and refuses a third of what it gets.
func (c *chaos) stranger(ctx context.Context, number int, agent string, rnd *rand.Rand) {
	for life := 0; ctx.Err() == nil; life++ {
		conn, err := grpc.NewClient(c.cp.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return
		}
		node := &corepb.Node{Id: fmt.Sprintf("stranger-%d-%d", number, life), Cluster: "edge", UserAgentName: agent}
		if agent == "envoy" {
			node.UserAgentVersionType = &corepb.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corepb.BuildVersion{Version: &typepb.SemanticVersion{MajorNumber: 1, MinorNumber: 40}}}
		}
		lives, end := context.WithTimeout(ctx, time.Duration(100+rnd.IntN(2000))*time.Millisecond)
		c.live(lives, conn, node, rnd)
		end()
		_ = conn.Close()
	}
}

func (c *chaos) live(ctx context.Context, conn *grpc.ClientConn, node *corepb.Node, rnd *rand.Rand) {
	stream, err := discoverypb.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		<-ctx.Done() // the control plane is away
		return
	}
	for url, names := range map[string][]string{resource.ClusterType: nil, resource.ListenerType: nil, resource.RouteType: {"web/http"}} {
		if stream.Send(&discoverypb.DeltaDiscoveryRequest{Node: node, TypeUrl: url, ResourceNamesSubscribe: names}) != nil {
			return
		}
	}
	for {
		in, err := stream.Recv()
		if err != nil {
			return
		}
		answer := &discoverypb.DeltaDiscoveryRequest{TypeUrl: in.GetTypeUrl(), ResponseNonce: in.GetNonce()}
		if rnd.IntN(3) == 0 {
			c.refused.Add(1)
			answer.ErrorDetail = &rpcstatus.Status{Code: 13, Message: fmt.Sprintf("I do not like s%d", rnd.IntN(chaosRoutes))}
		}
		if stream.Send(answer) != nil {
			return
		}
	}
}

var (
	hostsIn    = regexp.MustCompile(`"(v\d+\.h\d+\.example\.com)"`)
	clustersIn = regexp.MustCompile(`"name": ?"(s\d+)"`)
)

// settled is an error unless status and every proxy have what they should.
func (c *chaos) settled() error {
	text := c.cp.Sluice("status")
	for i := range 4 {
		if err := contains(text, []string{fmt.Sprintf("bad%d.yaml:2:", i), "SL0701", fmt.Sprintf("Gateway/bad%d", i), "assign requested address", "nothing"}); err != nil {
			return fmt.Errorf("bad%d is not told", i)
		}
	}
	if err := contains(text, []string{"gateways.yaml:", "SL0701", "Gateway/extra", "assign requested address", "last good version"}); err != nil {
		return fmt.Errorf("extra is not told")
	}
	if n := strings.Count(text, ": error "); n != 5 {
		return fmt.Errorf("got %d errors, want those of the five", n)
	}
	want := map[string]bool{}
	for i, v := range c.files {
		want[fmt.Sprintf("v%d.h%d.example.com", v, i)] = true
		want[fmt.Sprintf("s%d", i)] = true
	}
	for _, kind := range harness.Kinds {
		for _, p := range c.proxies[kind] {
			dump, err := harness.Get("http://" + p.Admin + "/config_dump")
			if err != nil {
				return err
			}
			got := map[string]bool{}
			for _, re := range []*regexp.Regexp{hostsIn, clustersIn} {
				for _, m := range re.FindAllStringSubmatch(dump, -1) {
					got[m[1]] = true
				}
			}
			if !maps.Equal(got, want) {
				return fmt.Errorf("%s has %d hosts and clusters, want %d: it lacks %v, and has %v", kind, len(got), len(want), missing(want, got), missing(got, want))
			}
			if strings.Contains(dump, "203.0.113.") || !strings.Contains(dump, fmt.Sprintf("127.0.0.1:%d", c.stage.Ports["extra"])) {
				return fmt.Errorf("%s: a bad listener is there, or the last good one is not", kind)
			}
		}
	}
	for line := range strings.Lines(text) {
		if live := strings.Fields(line); len(live) > 3 && live[0] == "edge" && c.lives(live[1]) && (strings.Contains(line, "STALE") || strings.Contains(line, "ERROR") || strings.Count(line, "SYNCED") < 4) {
			return fmt.Errorf("status says %s", line)
		}
	}
	for _, p := range slices.Concat(c.proxies[harness.Go], c.proxies[harness.Envoy]) {
		if err := agreed(c.t, c.cp, c.ids[p], p); err != nil {
			return err
		}
	}
	return nil
}

func (c *chaos) lives(id string) bool {
	for _, p := range slices.Concat(c.proxies[harness.Go], c.proxies[harness.Envoy]) {
		if c.ids[p] == id {
			return true
		}
	}
	return false
}

func missing(want, got map[string]bool) (names []string) {
	for name := range want {
		if !got[name] && len(names) < 5 {
			names = append(names, name)
		}
	}
	return names
}
