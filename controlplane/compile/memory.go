package compile

import (
	"maps"
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// Memory is what a compilation made of each document, so that the next one works on what changed, and its output has the
// very same values for the rest. It changes no output: each thing is kept with all that it was made of. It is for one
// goroutine; the zero value is empty.
type Memory struct {
	// turn counts compilations. What the last one did not use is forgotten; used counts what it did.
	turn     uint64
	used     struct{ services, routes, rules, tables int }
	made     uint64 // how many tables were made
	services map[string]*serviceMemo
	routes   map[string]*routeMemo // by the names of Routes
	rules    map[string]*rulesMemo // by the names of the Routes that they are of
	tables   map[string]*tableMemo // by fleet and listener
}

// turned begins a compilation.
func (m *Memory) turned() *Memory {
	if m == nil {
		m = &Memory{}
	}
	if m.services == nil {
		m.services, m.routes, m.rules, m.tables = map[string]*serviceMemo{}, map[string]*routeMemo{}, map[string]*rulesMemo{}, map[string]*tableMemo{}
	}
	m.turn++
	m.used.services, m.used.routes, m.used.rules, m.used.tables = 0, 0, 0, 0
	return m
}

// use notes that something is used in this turn.
func (m *Memory) use(last *uint64, used *int) {
	if *last != m.turn {
		*last = m.turn
		*used++
	}
}

// forget ends a compilation.
func (m *Memory) forget() {
	prune(m.services, m.used.services, func(x *serviceMemo) bool { return x.turn != m.turn })
	prune(m.routes, m.used.routes, func(x *routeMemo) bool { return x.turn != m.turn })
	prune(m.rules, m.used.rules, func(x *rulesMemo) bool { return x.turn != m.turn })
	prune(m.tables, m.used.tables, func(x *tableMemo) bool { return x.turn != m.turn })
}

// prune leaves those that were used.
func prune[V any](all map[string]V, used int, unused func(V) bool) {
	if used < len(all) {
		maps.DeleteFunc(all, func(_ string, v V) bool { return unused(v) })
	}
}

// serviceMemo is of a Service's message alone.
type serviceMemo struct {
	turn uint64
	from *sluicev1.Service
	msg  *sluicev1.Service // with defaults
	// published is the Route that its hosts stand for, with defaults; nil is none. It is the very same as that of an earlier
	// message of the name that says the same of it.
	published *sluicev1.Route
	// cluster is there if nothing but the message decides about it, and it is right. Else made is the last one.
	cluster, made *ir.Cluster
}

func (m *Memory) service(from *sluicev1.Service) *serviceMemo {
	memo := m.services[from.GetName()]
	if memo == nil || memo.from != from {
		old := memo
		memo = &serviceMemo{from: from, msg: definition.WithDefaults(from)}
		if published := definition.RouteOf(memo.msg); published != nil {
			memo.published = definition.WithDefaults(published)
		}
		if old != nil {
			memo.made = old.made
			if proto.Equal(old.published, memo.published) {
				memo.published = old.published
			}
		}
		m.services[from.GetName()] = memo
	}
	m.use(&memo.turn, &m.used.services)
	return memo
}

// same is the cluster as it was before, if it is equal.
func (m *serviceMemo) same(now *ir.Cluster) *ir.Cluster {
	if m.made == nil || !reflect.DeepEqual(m.made, now) {
		m.made = now
	}
	return m.made
}

// routeMemo is of a Route's message, or of that which a Service with hosts stands for. It is not changed once it has rules.
type routeMemo struct {
	turn uint64
	from *sluicev1.Route
	msg  *sluicev1.Route // with defaults
	// rules are there if they are right; services are those that they need, sorted.
	rules    []rule
	services []string
}

func (m *Memory) route(from routeSource) *routeMemo {
	message := from.published
	if message == nil {
		message = from.doc.Message.(*sluicev1.Route)
	}
	memo := m.routes[from.doc.Ref.Name]
	if memo == nil || memo.from != message {
		memo = &routeMemo{from: message, msg: message}
		if from.published == nil {
			memo.msg = definition.WithDefaults(message)
		}
		m.routes[from.doc.Ref.Name] = memo
	}
	m.use(&memo.turn, &m.used.routes)
	return memo
}

// recall takes the rules that were made before, if all Services that they need are there.
func (c *compiler) recall(r *route) bool {
	if r.memo.rules == nil {
		return false
	}
	for _, name := range r.memo.services {
		if c.services[name] == nil {
			return false
		}
	}
	for _, name := range r.memo.services {
		c.services[name].used = true
	}
	r.rules = r.memo.rules
	return true
}

// keepRules keeps rules that came out right.
func (c *compiler) keepRules(r *route) {
	memo := &routeMemo{turn: r.memo.turn, from: r.memo.from, msg: r.msg, rules: r.rules}
	for _, x := range r.rules {
		for i := range x.ir {
			memo.services = append(memo.services, clustersOf(&x.ir[i])...)
		}
	}
	slices.Sort(memo.services)
	memo.services = slices.Compact(memo.services)
	r.memo, c.memory.routes[r.doc.Ref.Name] = memo, memo
}

// rulesMemo is the rules that some Routes have in common on a host, in this order, and what there is to warn about.
type rulesMemo struct {
	turn    uint64
	table   uint64 // the number of the last table that was made with them
	routes  []*routeMemo
	rules   []ir.Rule
	verdict verdict
	// clusters are those that the rules name.
	clusters []string
	// hosts are the virtual hosts with these rules.
	hosts map[string]*ir.VirtualHost
}

// rulesOf finds the rules of some Routes.
func (m *Memory) rulesOf(routes []*route) *rulesMemo {
	key := routes[0].msg.GetName()
	for _, r := range routes[1:] {
		key += " " + r.msg.GetName()
	}
	memo := m.rules[key]
	if memo == nil || !slices.EqualFunc(memo.routes, routes, func(m *routeMemo, r *route) bool { return m == r.memo }) {
		memo = newRules(routes)
		m.rules[key] = memo
	}
	return memo
}

func newRules(routes []*route) *rulesMemo {
	memo := &rulesMemo{hosts: map[string]*ir.VirtualHost{}}
	var from []origin
	var places []place
	for n, r := range routes {
		memo.routes = append(memo.routes, r.memo)
		for i := range r.rules {
			for range r.rules[i].ir {
				from, places = append(from, origin{r, i}), append(places, place{n, i})
			}
			memo.rules = append(memo.rules, r.rules[i].ir...)
		}
	}
	for i := range memo.rules {
		memo.clusters = append(memo.clusters, clustersOf(&memo.rules[i])...)
	}
	slices.Sort(memo.clusters)
	memo.clusters = slices.Compact(memo.clusters)
	memo.verdict = judge(memo.rules, from, places)
	return memo
}

// clustersOf are those that a rule sends to.
func clustersOf(r *ir.Rule) (names []string) {
	for _, b := range r.Backends {
		names = append(names, b.Cluster)
	}
	for _, m := range r.Mirrors {
		names = append(names, m.Cluster)
	}
	return names
}

// host is the virtual host of a name with these rules.
func (m *rulesMemo) host(name string) *ir.VirtualHost {
	h := m.hosts[name]
	if h == nil {
		h = &ir.VirtualHost{Name: name, Host: name, Rules: m.rules}
		m.hosts[name] = h
	}
	return h
}
