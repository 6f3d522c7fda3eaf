// Package crowd plays any number of proxies that follow a control plane, as cheaply as can be: they share the machine
// with the server that is measured.
//
// In: an address, a protocol (delta or state of the world), and goals: what every proxy should have got and ACKed.
// Out: when the last one had, how many bytes and responses came, and who saw a route before its cluster. Each proxy is
// one TCP connection, one gRPC stream and one goroutine, which subscribes as Envoy does: clusters by wildcard, then
// endpoints by name, then listeners by wildcard, then route tables by name; the ACK of clusters waits for their
// endpoints. It must not know what resources mean: it reads names, and never unpacks a resource.
package crowd

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typepb "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
)

// Options of a Crowd.
type Options struct {
	// Address is where the control plane listens, without TLS.
	Address string
	// Fleet is the node's cluster.
	Fleet string
	// Delta is incremental xDS; else state of the world.
	Delta bool
	// Tables are the names of the route tables, which Envoy would read in the listeners.
	Tables []string
}

// Crowd is some proxies. Its methods may be called concurrently.
type Crowd struct {
	options Options
	goal    atomic.Pointer[Goal]
	names   names

	bytes, responses atomic.Int64

	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	failed chan struct{} // closed with err set
	fail   sync.Once
	err    error
	joined int
}

// New makes a crowd of nobody.
func New(o Options) *Crowd {
	c := &Crowd{options: o, failed: make(chan struct{}), names: names{ids: map[string]int{}}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Join lets n proxies connect at once. The goal is for them; there is one at a time.
func (c *Crowd) Join(n int, g *Goal) {
	c.joined += n
	c.Expect(g)
	for i := range n {
		id := fmt.Sprintf("crowd-%05d", c.joined-n+i)
		c.group.Go(func() {
			if err := c.live(id); err != nil && c.ctx.Err() == nil {
				c.fail.Do(func() {
					c.err = fmt.Errorf("crowd: %s: %w", id, err)
					close(c.failed)
				})
			}
		})
	}
}

// Leave ends all, and waits for it. What ended any of them before is its error.
func (c *Crowd) Leave() error {
	c.cancel()
	c.group.Wait()
	select {
	case <-c.failed:
		return c.err
	default:
		return nil
	}
}

// Traffic is how many bytes of messages and how many messages all streams got so far.
func (c *Crowd) Traffic() (bytes, responses int64) { return c.bytes.Load(), c.responses.Load() }

// Expect sets the goal. What comes from now on counts for it.
func (c *Crowd) Expect(g *Goal) {
	g.reached = make(chan struct{})
	g.left.Store(int64(c.joined))
	c.goal.Store(g)
}

// Await waits until every proxy has reached the goal, and tells when the last one had.
func (c *Crowd) Await(ctx context.Context, g *Goal) (time.Time, error) {
	select {
	case <-g.reached:
		return g.last, nil
	case <-c.failed:
		return time.Time{}, c.err
	case <-ctx.Done():
		return time.Time{}, fmt.Errorf("crowd: %d of %d proxies have not reached the goal: %w", g.left.Load(), c.joined, context.Cause(ctx))
	}
}

// quietFor is for how long nothing may come.
const quietFor = 250 * time.Millisecond

// Quiet waits until nothing comes any more.
func (c *Crowd) Quiet(ctx context.Context) error {
	tick := time.NewTicker(quietFor / 10)
	defer tick.Stop()
	last, since := int64(-1), time.Now()
	for time.Since(since) < quietFor {
		if now := c.bytes.Load(); now != last {
			last, since = now, time.Now()
		}
		select {
		case <-tick.C:
		case <-c.failed:
			return c.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Goal is what every proxy should have got and ACKed.
type Goal struct {
	// Clusters, Endpoints and Hosts are how many of each it must have.
	Clusters, Endpoints, Hosts int
	// Want must all come. Where Ordered is set they should come in this order.
	Want    []Want
	Ordered bool

	left    atomic.Int64
	broken  atomic.Int64
	reached chan struct{}
	last    time.Time // once reached
}

// Broken is how many streams got the wanted in another order, if they are Ordered.
func (g *Goal) Broken() int { return int(g.broken.Load()) }

// Want is a resource that should come.
type Want struct {
	// Type is its type's URL. Virtual hosts count as the route table that they belong to.
	Type string
	// Name is its name; "" is any.
	Name string
	// Marker must stand in it: it tells the new one from the old.
	Marker []byte
}

// node is what a proxy says of itself: it poses as the Envoy that we test with.
func node(id, fleet string) ([]byte, error) {
	return proto.Marshal(&corepb.Node{
		Id: id, Cluster: fleet, UserAgentName: "envoy",
		UserAgentVersionType: &corepb.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corepb.BuildVersion{
			Version: &typepb.SemanticVersion{MajorNumber: 1, MinorNumber: 40},
		}},
	})
}

// names numbers the names of resources, for all proxies alike, so that a set of them is a few bits each.
type names struct {
	mu    sync.RWMutex
	ids   map[string]int // guarded by mu, as all
	all   []string
	last  set // whose list is kept
	lists []byte
}

// of numbers the items of a response, into ids.
func (n *names) of(items []item, ids []int) []int {
	ids = ids[:0]
	n.mu.RLock()
	for i := range items {
		id, ok := n.ids[string(items[i].name)]
		if !ok {
			id = -1
		}
		ids = append(ids, id)
	}
	n.mu.RUnlock()
	for i, id := range ids {
		if id < 0 {
			ids[i] = n.add(string(items[i].name))
		}
	}
	return ids
}

func (n *names) add(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, ok := n.ids[name]
	if !ok {
		id = len(n.all)
		n.ids[name] = id
		n.all = append(n.all, name)
	}
	return id
}

// text is the names of some numbers.
func (n *names) text(ids []int) []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = n.all[id]
	}
	return out
}

// list is a set as resource_names of a request. Proxies mostly ask for the same: the latest is kept.
func (n *names) list(s *set) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lists == nil || !s.equal(&n.last) {
		var all []string
		for _, id := range s.all() {
			all = append(all, n.all[id])
		}
		n.last, n.lists = s.clone(), appendNames([]byte{}, all)
	}
	return n.lists
}
