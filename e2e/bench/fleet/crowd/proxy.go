package crowd

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// virtualHostType is what VHDS carries.
const virtualHostType = "type.googleapis.com/envoy.config.route.v3.VirtualHost"

// proxy is one of the crowd. Its goroutine alone uses it.
type proxy struct {
	crowd *Crowd
	conn  *conn
	node  []byte // until it was sent

	clusters, endpoints, hosts set
	lacking                    int    // clusters whose endpoints have not come
	held                       string // nonce of a response of clusters that is not ACKed yet; "" is none
	heldVersion                string
	// Of endpoints, for requests in state of the world.
	endpointsVersion, endpointsNonce string
	listeners, tables, vhds          bool // asked for
	inline                           int  // virtual hosts in route tables

	goal    *Goal
	seen    []bool
	arrived bool
	broken  bool

	response response
	ids      []int
}

// live is a proxy's life.
func (c *Crowd) live(id string) error {
	method := "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
	if c.options.Delta {
		method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
	}
	conn, err := dial(c.options.Address, method)
	if err != nil {
		return err
	}
	defer conn.net.Close()
	stop := context.AfterFunc(c.ctx, func() { _ = conn.net.Close() })
	defer stop()
	p := &proxy{crowd: c, conn: conn}
	if p.node, err = node(id, c.options.Fleet); err != nil {
		return err
	}
	p.ask(&request{typeURL: resource.ClusterType})
	buffer := make([]byte, 32<<10)
	for {
		if err := conn.flush(); err != nil {
			return err
		}
		p.look()
		if err := conn.read(buffer, p.handle); err != nil {
			return err
		}
	}
}

// ask queues a request.
func (p *proxy) ask(r *request) {
	r.node, p.node = p.node, nil
	if p.crowd.options.Delta {
		r.version, r.names = "", nil
		p.conn.send(r.delta())
		return
	}
	p.conn.send(r.sotw())
}

// handle takes a response, and queues what is to be said to it.
func (p *proxy) handle(message []byte) error {
	p.crowd.bytes.Add(int64(len(message)))
	p.crowd.responses.Add(1)
	scan := scanSotW
	if p.crowd.options.Delta {
		scan = scanDelta
	}
	r := &p.response
	if err := scan(message, r); err != nil {
		return err
	}
	if r.nonce == "" {
		return fmt.Errorf("%s: got a response without a nonce, want one to ACK", r.typeURL)
	}
	p.expect(r)
	p.ids = p.crowd.names.of(r.items, p.ids)
	switch r.typeURL {
	case resource.ClusterType:
		p.takeClusters(r)
	case resource.EndpointType:
		p.takeEndpoints(r)
	case resource.ListenerType:
		p.ask(&request{typeURL: r.typeURL, version: r.version, nonce: r.nonce})
		if !p.tables {
			p.tables = true
			p.ask(&request{typeURL: resource.RouteType, subscribe: p.crowd.options.Tables, names: appendNames(nil, p.crowd.options.Tables)})
		}
	case resource.RouteType:
		return p.takeRoutes(r)
	case virtualHostType:
		p.takeHosts(r)
	default:
		p.ask(&request{typeURL: r.typeURL, version: r.version, nonce: r.nonce})
	}
	return nil
}

// takeClusters subscribes to the endpoints of new ones, and ACKs when all have theirs: Envoy pauses CDS while a cluster
// warms.
func (p *proxy) takeClusters(r *response) {
	var added, removed []int
	var now set
	for _, id := range p.ids {
		now.add(id)
		if p.clusters.add(id) {
			added = append(added, id)
			if !p.endpoints.has(id) {
				p.lacking++
			}
		}
	}
	if p.crowd.options.Delta {
		for _, name := range r.removed {
			removed = append(removed, p.crowd.names.add(string(name)))
		}
	} else {
		for _, id := range p.clusters.all() {
			if !now.has(id) {
				removed = append(removed, id)
			}
		}
	}
	for _, id := range removed {
		if p.clusters.remove(id) && !p.endpoints.remove(id) {
			p.lacking--
		}
	}
	p.held, p.heldVersion = r.nonce, r.version
	if len(added)+len(removed) > 0 {
		ask := &request{typeURL: resource.EndpointType, version: p.endpointsVersion}
		if p.crowd.options.Delta {
			ask.subscribe, ask.unsubscribe = p.crowd.names.text(added), p.crowd.names.text(removed)
		} else {
			ask.names, ask.nonce = p.crowd.names.list(&p.clusters), p.endpointsNonce
		}
		p.ask(ask)
	}
	p.warmed()
}

// takeEndpoints ACKs them, and what waited for them.
func (p *proxy) takeEndpoints(r *response) {
	for _, id := range p.ids {
		if p.endpoints.add(id) && p.clusters.has(id) {
			p.lacking--
		}
	}
	for _, name := range r.removed {
		if id := p.crowd.names.add(string(name)); p.endpoints.remove(id) && p.clusters.has(id) {
			p.lacking++
		}
	}
	p.endpointsVersion, p.endpointsNonce = r.version, r.nonce
	ack := &request{typeURL: r.typeURL, version: r.version, nonce: r.nonce}
	if !p.crowd.options.Delta {
		ack.names = p.crowd.names.list(&p.clusters)
	}
	p.ask(ack)
	p.warmed()
}

// warmed ACKs clusters when no cluster lacks endpoints, and asks for listeners after the first time.
func (p *proxy) warmed() {
	if p.lacking > 0 || p.held == "" {
		return
	}
	p.ask(&request{typeURL: resource.ClusterType, version: p.heldVersion, nonce: p.held})
	p.held = ""
	if !p.listeners {
		p.listeners = true
		p.ask(&request{typeURL: resource.ListenerType})
	}
}

// takeRoutes ACKs route tables, and asks for virtual hosts once if a table says that they come apart: by wildcard, as Envoy
// was seen to.
func (p *proxy) takeRoutes(r *response) error {
	apart := false
	for i := range r.items {
		n := 0
		err := fields(r.items[i].value, func(number protowire.Number, _ []byte) error {
			switch number {
			case 2: // virtual_hosts
				n++
			case 9: // vhds
				apart = true
			}
			return nil
		})
		if err != nil {
			return err
		}
		p.inline = n
	}
	p.ask(&request{typeURL: r.typeURL, version: r.version, nonce: r.nonce, names: appendNames(nil, p.crowd.options.Tables)})
	if apart && !p.vhds {
		p.vhds = true
		p.ask(&request{typeURL: virtualHostType})
	}
	return nil
}

func (p *proxy) takeHosts(r *response) {
	for _, id := range p.ids {
		p.hosts.add(id)
	}
	for _, name := range r.removed {
		p.hosts.remove(p.crowd.names.add(string(name)))
	}
	p.ask(&request{typeURL: r.typeURL, nonce: r.nonce})
}

// expect notes which wanted resources a response has.
func (p *proxy) expect(r *response) {
	if g := p.crowd.goal.Load(); g != p.goal {
		p.goal, p.seen, p.arrived, p.broken = g, make([]bool, len(g.Want)), false, false
	}
	kind := r.typeURL
	if kind == virtualHostType {
		kind = resource.RouteType
	}
	for w := range p.goal.Want {
		want := &p.goal.Want[w]
		if p.seen[w] || want.Type != kind {
			continue
		}
		for i := range r.items {
			if want.Name != "" && string(r.items[i].name) != want.Name || !bytes.Contains(r.items[i].value, want.Marker) {
				continue
			}
			p.seen[w] = true
			for _, before := range p.seen[:w] {
				if !before && p.goal.Ordered && !p.broken {
					p.broken = true
					p.goal.broken.Add(1)
				}
			}
			break
		}
	}
}

// look tells whether this proxy has reached the goal: all that is wanted came, and every ACK is written.
func (p *proxy) look() {
	g := p.goal
	if g == nil || p.arrived || p.held != "" || len(p.conn.body) > 0 ||
		p.clusters.count < g.Clusters || p.endpoints.count < g.Endpoints || max(p.inline, p.hosts.count) < g.Hosts {
		return
	}
	for _, seen := range p.seen {
		if !seen {
			return
		}
	}
	p.arrived = true
	now := time.Now()
	if g.left.Add(-1) == 0 {
		g.last = now
		close(g.reached)
	}
}
