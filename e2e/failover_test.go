package e2e

import (
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"testing"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"golang.org/x/tools/txtar"

	"github.com/sluice-proxy/sluice/e2e/harness"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// statuses are how a case writes the health of an endpoint.
var statuses = map[byte]corepb.HealthStatus{
	'h': corepb.HealthStatus_HEALTHY, 'u': corepb.HealthStatus_UNHEALTHY, 'd': corepb.HealthStatus_DRAINING, 't': corepb.HealthStatus_TIMEOUT,
}

// failovers are endpoints with a health each ("h" healthy, "u" unhealthy, "d" draining, "t" timed out), their priorities with
// a comma between, and what each priority's share is, by health, in percent. With zones, a and b stand for an
// endpoint's zone before its health.
var failovers = []struct {
	name, endpoints, balancing string
	want                       map[string]float64
}{
	{"enough", "hhhhu,hh", "", map[string]float64{"0h": 100}},
	{"spill", "hhuuu,hh", "", map[string]float64{"0h": 56, "1h": 44}},
	{"failover", "uu,hh", "", map[string]float64{"1h": 100}},
	{"third", "ut,tu,h", "", map[string]float64{"2h": 100}},
	{"together", "hhuuu,huuuu", "", map[string]float64{"0h": 67, "1h": 33}},
	{"nobody", "ut,du", "", map[string]float64{}},
	{"drained", "ddh,hh", "", map[string]float64{"0h": 100}},
	{"drained-beside-ill", "dduh,hh", "", map[string]float64{"0h": 70, "1h": 30}},
	{"panic", "huuu", "panicThreshold: 50%", map[string]float64{"0h": 25, "0u": 75}},
	{"no-panic", "huuu", "panicThreshold: 25%", map[string]float64{"0h": 100}},
	{"panic-spared", "huuuu,hhh", "panicThreshold: 50%", map[string]float64{"0h": 28, "1h": 72}},
	{"panic-all", "uu,huuu", "panicThreshold: 50%", map[string]float64{"0u": 34, "1h": 16.5, "1u": 49.5}},
	{"panic-one", "huuuu,hu", "panicThreshold: 50%", map[string]float64{"0h": 5.8, "0u": 23.2, "1h": 71}},
	{"panic-drained", "dhuu", "panicThreshold: 50%", map[string]float64{"0d": 25, "0h": 25, "0u": 50}},
	{"least", "hhuuu,hh", "leastRequest: {}", map[string]float64{"0h": 56, "1h": 44}},
	{"random", "hhuuu,hh", "random: {}", map[string]float64{"0h": 56, "1h": 44}},
	{"ring", "hhuuu,hh", "ringHash: {hashOn: [{header: {name: x}}]}", map[string]float64{"0h": 56, "1h": 44}},
	{"maglev-panic", "huuu", "panicThreshold: 50%, maglev: {hashOn: [{header: {name: x}}]}", map[string]float64{"0h": 25, "0u": 75}},
	{"zone-half", "ahauauauauauauauauahbhbh", "zoneWeights: {a: 1, b: 1}", map[string]float64{"0ah": 100 * .28 / 1.28, "0bh": 100 / 1.28}},
	{"zone-none", "auaubhbh", "zoneWeights: {a: 3, b: 1}", map[string]float64{"0bh": 100}},
	{"zone-only-zero", "auaubhbh", "zoneWeights: {a: 3, b: 0}", map[string]float64{"0bh": 100}},
	{"zone-panic", "ahauauaubhbububu", "zoneWeights: {a: 9, b: 1}, panicThreshold: 50%", map[string]float64{"0ah": 12.5, "0au": 37.5, "0bh": 12.5, "0bu": 37.5}},
	{"zone-ring-only-zero", "auaubhbh", "zoneWeights: {a: 3, b: 0}, ringHash: {hashOn: [{header: {name: x}}]}", map[string]float64{}},
	{"zone-priorities", "ahauauaubhbubhbu,ahbh", "zoneWeights: {a: 1, b: 3}", map[string]float64{"0ah": 52 * .35 / 2.45, "0bh": 52 * 2.1 / 2.45, "1ah": 12, "1bh": 36}},
}

// member is an endpoint of a failover.
type member struct {
	name, kind string
	status     corepb.HealthStatus
}

// membersOf reads a failover's endpoints, and writes them as definitions.
func membersOf(name, endpoints, balancing string) (members []member, definition string) {
	var list []string
	for priority, text := range strings.Split(endpoints, ",") {
		for i := 0; i < len(text); i++ {
			kind, zone := strconv.Itoa(priority), ""
			if strings.Contains(balancing, "zoneWeights") {
				zone = fmt.Sprintf(", zone: %c", text[i])
				kind += text[i : i+1]
				i++
			}
			m := member{fmt.Sprintf("%s-%d", name, len(members)), kind + text[i:i+1], statuses[text[i]]}
			members = append(members, m)
			list = append(list, fmt.Sprintf(`{address: "{{upstream %q}}", priority: %d%s}`, m.name, priority, zone))
		}
	}
	return members, fmt.Sprintf("---\nkind: Service\nname: %s\nhosts: [%s.example.com]\ngateways: [go, envoy]\nendpoints: [%s]\nloadBalancer: {%s}\n",
		name, name, strings.Join(list, ", "), balancing)
}

// TestFailover: another control plane's EDS says who is ill and who drains, and both proxies share the requests by the same
// arithmetic: priorities, panic and zones.
func TestFailover(t *testing.T) {
	t.Parallel()
	text := strings.SplitAfter(splitDefinitions, "kind: Route")[0]
	text = strings.TrimSuffix(text, "---\nkind: Route")
	members := map[string][]member{}
	for _, c := range failovers {
		list, definition := membersOf(c.name, c.endpoints, c.balancing)
		members[c.name] = list
		text += definition
	}
	stage := harness.NewStage(t, []txtar.File{{Name: "failover.yaml", Data: []byte(text)}})
	for _, u := range stage.Upstreams {
		u.CountOnly()
	}
	cache := snapshot.NewCache()
	sets := map[string]*snapshot.Snapshot{}
	for _, kind := range harness.Kinds {
		resources := resourcesOf(t, stage.Text(t, "failover.yaml"), kind)
		for name, m := range resources[resource.EndpointType] {
			fallIll(m.(*endpointpb.ClusterLoadAssignment), stage, members[name])
		}
		s, err := snapshot.Build(resources, nil)
		if err != nil {
			t.Fatal(err)
		}
		sets[kind] = s
	}
	cache.SetAll(sets)
	addr := serveXDS(t, cache, nacks{refused: make(chan string, 1), accepted: make(chan string, 1)})
	for _, kind := range harness.Kinds {
		proxy := harness.StartProxy(t, kind, addr, kind, kind+"-1")
		proxy.WaitReady()
		for _, c := range failovers {
			t.Run(kind+"/"+c.name, func(t *testing.T) {
				url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(stage.Ports[kind])) + "/"
				tally := harness.NewLoader(t, url, c.name+".example.com", 4).Run(800, 4)
				got := map[string]float64{}
				for _, m := range members[c.name] {
					got[m.kind] += tally.Percent(m.name)
				}
				for key, share := range got {
					// Four times what chance allows among so many.
					if math.Abs(share-c.want[key]) > 8 {
						t.Errorf("%s: got %.1f %%, want %.1f", key, share, c.want[key])
					}
				}
				if len(c.want) == 0 && tally.Failures != tally.Requests || len(c.want) > 0 && tally.Failures > 0 {
					t.Errorf("got %d of %d refused: %v", tally.Failures, tally.Requests, tally.Words[:min(1, len(tally.Words))])
				}
			})
		}
	}
}

// fallIll gives endpoints their health.
func fallIll(m *endpointpb.ClusterLoadAssignment, stage *harness.Stage, members []member) {
	status := map[string]corepb.HealthStatus{}
	for _, one := range members {
		status[stage.Upstreams[one.name].Addr] = one.status
	}
	for _, l := range m.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			socket := e.GetEndpoint().GetAddress().GetSocketAddress()
			e.HealthStatus = status[net.JoinHostPort(socket.GetAddress(), strconv.Itoa(int(socket.GetPortValue())))]
		}
	}
}
