package server

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	clusterpb "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointpb "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerpb "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routepb "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmpb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcppb "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	cds = resource.ClusterType
	eds = resource.EndpointType
	lds = resource.ListenerType
	rds = resource.RouteType
	vhd = resource.VirtualHostType
)

var modelTypes = []string{cds, eds, lds, rds, vhd}

var modelSeeds = flag.Int("model-seeds", 150, "random histories per kind of client")

// TestModel runs random histories: snapshots that change (some with resources that the client refuses), messages that
// are late in either direction, and reconnects; against a model of a client. See client.apply for what must hold at each
// step. At the end the client must have exactly what the snapshot says, and the server nothing more to say.
func TestModel(t *testing.T) {
	for _, isDelta := range []bool{false, true} {
		for _, envoy := range []bool{false, true} {
			for _, partial := range []bool{false, true} {
				for _, apart := range []bool{false, true} {
					t.Run(fmt.Sprintf("delta=%v/withholds=%v/partial=%v/hostsApart=%v", isDelta, envoy, partial, apart), func(t *testing.T) {
						for seed := range uint64(*modelSeeds) {
							m := newModel(t, seed, isDelta, envoy, partial)
							m.apart = apart
							m.history()
							if t.Failed() {
								return
							}
						}
					})
				}
			}
		}
	}
}

type model struct {
	t      *testing.T
	seed   uint64
	r      *rand.Rand
	apart  bool // virtual hosts are resources of their own
	now    time.Time
	snap   *snapshot.Snapshot
	server *state
	client *client
	down   []*message                   // on the way to the client
	up     []*request                   // on the way to the server
	known  map[string]bool              // clusters that the server was told were accepted
	knew   map[*message]map[string]bool // known, when it sent this
	log    bytes.Buffer
}

func newModel(t *testing.T, seed uint64, isDelta, envoy, partial bool) *model {
	m := &model{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7)), now: time.Unix(0, 0)}
	m.client = &client{m: m, delta: isDelta, envoy: envoy, partial: partial, has: map[string]map[string]*snapshot.Resource{}}
	for _, u := range modelTypes {
		m.client.has[u] = map[string]*snapshot.Resource{}
	}
	return m
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d:\n%s\n%s", m.seed, m.log.String(), fmt.Sprintf(format, args...))
}

func (m *model) history() {
	m.change(true)
	m.connect()
	for range 120 {
		switch n := m.r.IntN(20); {
		case n < 2:
			m.change(true)
		case n < 3 && m.r.IntN(6) == 0:
			m.connect()
		case n < 4 && m.r.IntN(4) == 0:
			m.drain()
		case n < 9:
			m.serve()
		case n < 14:
			m.deliver()
		default:
			m.answer()
		}
	}
	m.change(false)
	m.drain()
	m.client.converged()
}

// change makes another snapshot; what is bad is refused by the client.
func (m *model) change(bad bool) {
	flaw := func() string {
		if bad && m.r.IntN(12) == 0 {
			return "bad!"
		}
		return ""
	}
	all := map[string]map[string]proto.Message{cds: {}, eds: {}, lds: {}, rds: {}, vhd: {}}
	var names []string
	for i := range 5 {
		if m.r.IntN(3) == 0 {
			continue
		}
		name := fmt.Sprintf("c%d", i)
		names = append(names, name)
		c := &clusterpb.Cluster{Name: name, AltStatName: fmt.Sprint(m.r.IntN(2), flaw())}
		if i < 4 {
			c.ClusterDiscoveryType = &clusterpb.Cluster_Type{Type: clusterpb.Cluster_EDS}
			all[eds][name] = &endpointpb.ClusterLoadAssignment{ClusterName: name, Policy: &endpointpb.ClusterLoadAssignment_Policy{
				OverprovisioningFactor: nil,
				DropOverloads:          []*endpointpb.ClusterLoadAssignment_Policy_DropOverload{{Category: fmt.Sprint(m.r.IntN(2), flaw())}},
			}}
		}
		all[cds][name] = c
	}
	for i := range 3 {
		if m.r.IntN(4) == 0 {
			continue
		}
		name := fmt.Sprintf("l%d", i)
		l := &listenerpb.Listener{Name: name, StatPrefix: fmt.Sprint(m.r.IntN(2), flaw())}
		var filter proto.Message
		if i == 2 && len(names) > 0 {
			filter = &tcppb.TcpProxy{ClusterSpecifier: &tcppb.TcpProxy_Cluster{Cluster: names[m.r.IntN(len(names))]}}
		} else {
			route := fmt.Sprintf("r%d", m.r.IntN(3))
			filter = &hcmpb.HttpConnectionManager{RouteSpecifier: &hcmpb.HttpConnectionManager_Rds{Rds: &hcmpb.Rds{RouteConfigName: route}}}
			if all[rds][route] == nil {
				if all[rds][route] = m.routes(route, names, flaw()); m.apart {
					m.spread(route, names, all, bad)
				}
			}
		}
		packed, err := anypb.New(filter)
		if err != nil {
			m.fatalf("%v", err)
		}
		l.FilterChains = []*listenerpb.FilterChain{{Filters: []*listenerpb.Filter{{ConfigType: &listenerpb.Filter_TypedConfig{TypedConfig: packed}}}}}
		all[lds][name] = l
	}
	next, err := snapshot.Build(all, m.snap)
	if err != nil {
		m.fatalf("%v", err)
	}
	m.snap = next
	fmt.Fprintln(&m.log, "change")
	for _, u := range modelTypes {
		for _, r := range next.Set(u).All() {
			fmt.Fprintf(&m.log, "    %s %s %s bad=%v → %v %v\n", short(u), r.Name, r.Version[:4], isBad(r), r.Refs(cds), r.Refs(rds))
		}
	}
	if m.server != nil {
		m.server.adopt(next)
	}
}

func (m *model) routes(name string, clusters []string, flaw string) *routepb.RouteConfiguration {
	host := &routepb.VirtualHost{Name: "all" + flaw, Metadata: &corepb.Metadata{}}
	for _, c := range clusters {
		if m.r.IntN(2) == 0 {
			host.Routes = append(host.Routes, &routepb.Route{Action: &routepb.Route_Route{Route: &routepb.RouteAction{
				ClusterSpecifier: &routepb.RouteAction_Cluster{Cluster: c},
			}}})
		}
	}
	return &routepb.RouteConfiguration{Name: name, VirtualHosts: []*routepb.VirtualHost{host}}
}

// spread makes a table's hosts resources of their own; one in a few has none, and says so.
func (m *model) spread(table string, clusters []string, all map[string]map[string]proto.Message, bad bool) {
	flaw := func() string {
		if bad && m.r.IntN(4) == 0 {
			return "bad!"
		}
		return ""
	}
	thin := &routepb.RouteConfiguration{Name: table, InternalOnlyHeaders: []string{fmt.Sprint(m.r.IntN(2), flaw())}}
	for i := range m.r.IntN(4) {
		if m.r.IntN(2) == 0 {
			clusters = nil // so that it is the same in one snapshot and the next
		}
		host := m.routes(table, clusters, flaw()).GetVirtualHosts()[0]
		host.Domains, host.Name = []string{host.GetName()}, resource.HostName(table, fmt.Sprint("h", i))
		all[vhd][host.Name] = host
		thin.Vhds = &routepb.Vhds{}
	}
	all[rds][table] = thin
}

func isBad(r *snapshot.Resource) bool { return bytes.Contains(r.Any().GetValue(), []byte("bad!")) }

func short(url string) string {
	t, _ := resource.ByURL(url)
	return t.Short
}

// connect begins a stream; what was on its way is lost.
func (m *model) connect() {
	fmt.Fprintln(&m.log, "connect")
	m.down, m.up = nil, nil
	m.known, m.knew = map[string]bool{}, map[*message]map[string]bool{}
	m.now = m.now.Add(time.Minute)
	m.server = newState(config{
		delta: m.client.delta, prefix: fmt.Sprint(m.r.IntN(1000)), maxNames: 1000, patience: time.Second,
		now: func() time.Time { return m.now }, unserved: func(string) {},
	})
	m.server.adopt(m.snap)
	m.client.connected()
}

// serve lets the server send one message.
func (m *model) serve() bool {
	msg := m.server.next()
	m.server.settle()
	if msg == nil {
		return false
	}
	fmt.Fprintf(&m.log, "server: %s %s -%v (%s)\n", short(msg.typeURL), names(msg), msg.removed, msg.nonce)
	m.down = append(m.down, msg)
	m.knew[msg] = maps.Clone(m.known)
	return true
}

func names(msg *message) (all []string) {
	for _, r := range msg.resources {
		all = append(all, r.Name+"@"+r.Version[:4])
	}
	return all
}

// deliver lets a message reach the client.
func (m *model) deliver() bool {
	if len(m.down) == 0 {
		return false
	}
	msg := m.down[0]
	m.down = m.down[1:]
	m.client.receive(msg)
	return true
}

// answer lets a request reach the server.
func (m *model) answer() bool {
	if len(m.up) == 0 {
		return false
	}
	req := m.up[0]
	m.up = m.up[1:]
	verdict := ""
	if req.refused != nil {
		verdict = " NACK"
	}
	fmt.Fprintf(&m.log, "client: %s %s names=%v +%v -%v initial=%v version=%s\n", short(req.typeURL), req.nonce+verdict, req.names,
		req.subscribe, req.unsubscribe, slices.Sorted(maps.Keys(req.initial)), req.version)
	if req.typeURL == cds && req.nonce != "" {
		if req.initial != nil {
			clear(m.known)
		}
		for name := range req.initial {
			m.known[name] = true
		}
	}
	if err := m.server.handle(req); err != nil {
		m.fatalf("the server ended the stream: %v", err)
	}
	return true
}

// drain lets all happen that can. It must come to an end: there is no hot loop, whatever was refused.
func (m *model) drain() {
	fmt.Fprintln(&m.log, "drain")
	for range 2000 {
		busy := m.serve()
		busy = m.deliver() || busy
		busy = m.answer() || busy
		if busy {
			continue
		}
		if wake := m.server.settle(); !wake.IsZero() {
			m.now = wake
			continue
		}
		if m.client.giveUp() {
			continue
		}
		return
	}
	m.fatalf("it does not come to rest")
}
