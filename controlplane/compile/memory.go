package compile

import (
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// Memory is what a compilation made of each document, so that the next one works on what changed, and its output has the
// very same values for the rest. It changes no output: each thing is kept with all that it was made of. Documents are known
// by their Message, which stays when their file is edited elsewhere. It is for one goroutine; the zero value is empty.
type Memory struct {
	// What the last compilation used; what it did not is forgotten.
	services map[*sluicev1.Service]*serviceMemo
	routes   map[proto.Message]*routeMemo
	rules    map[string]*rulesMemo // by the names of Routes
	clusters map[string]*ir.Cluster
	tables   map[string]*ir.RouteTable // by fleet and name
	order    map[string][]string       // names as they were sorted, by what they are of
}

// turn begins a compilation: what it takes from before goes into the next.
func (m *Memory) turn() (before Memory) {
	if m == nil {
		return Memory{}
	}
	return *m
}

// sortedKeysOf is sortedKeys for names that are mostly those of the last compilation.
func sortedKeysOf[V any](c *compiler, what string, m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for _, k := range c.before.order[what] {
		if _, still := m[k]; still {
			keys = append(keys, k)
		}
	}
	if len(keys) < len(m) {
		keys = sortedKeys(m)
	}
	c.now.order[what] = keys
	return keys
}

// serviceMemo is of a Service's message alone.
type serviceMemo struct {
	msg *sluicev1.Service // with defaults
	// published is the Route that its hosts stand for, with defaults; nil is none.
	published *sluicev1.Route
	// cluster is there if nothing but the message decides about it, and it is right.
	cluster *ir.Cluster
}

func (c *compiler) rememberService(m *sluicev1.Service) *serviceMemo {
	memo := c.before.services[m]
	if memo == nil {
		memo = &serviceMemo{msg: definition.WithDefaults(m)}
		if published := definition.RouteOf(memo.msg); published != nil {
			memo.published = definition.WithDefaults(published)
		}
	}
	c.now.services[m] = memo
	return memo
}

// routeMemo is of a Route's message, or of that of a Service which publishes itself. It is not changed once it has rules.
type routeMemo struct {
	msg *sluicev1.Route // with defaults
	// rules are there if they are right; services are those that they need, sorted.
	rules    []rule
	services []string
}

func (c *compiler) rememberRoute(from routeSource) *routeMemo {
	memo := c.before.routes[from.doc.Message]
	if memo == nil {
		memo = &routeMemo{msg: from.published}
		if m, long := from.doc.Message.(*sluicev1.Route); long {
			memo.msg = definition.WithDefaults(m)
		}
	}
	c.now.routes[from.doc.Message] = memo
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
	memo := &routeMemo{msg: r.msg, rules: r.rules}
	for _, x := range r.rules {
		for i := range x.ir {
			for _, b := range x.ir[i].Backends {
				memo.services = append(memo.services, b.Cluster)
			}
			for _, m := range x.ir[i].Mirrors {
				memo.services = append(memo.services, m.Cluster)
			}
		}
	}
	slices.Sort(memo.services)
	memo.services = slices.Compact(memo.services)
	r.memo, c.now.routes[r.doc.Message] = memo, memo
}

// rulesMemo is the rules that some Routes have in common on a host, in this order, and what there is to warn about.
type rulesMemo struct {
	routes  []*routeMemo
	rules   []ir.Rule
	verdict verdict
	// hosts are the virtual hosts with these rules.
	hosts map[string]*ir.VirtualHost
}

// rememberRules finds the rules of some Routes.
func (c *compiler) rememberRules(key string, routes []*route) *rulesMemo {
	if memo := c.now.rules[key]; memo != nil {
		return memo
	}
	memo := c.before.rules[key]
	if memo == nil || !slices.EqualFunc(memo.routes, routes, func(m *routeMemo, r *route) bool { return m == r.memo }) {
		memo = &rulesMemo{hosts: map[string]*ir.VirtualHost{}}
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
		memo.verdict = judge(memo.rules, from, places)
	}
	c.now.rules[key] = memo
	return memo
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

// sameCluster is the cluster as it was before, if it is equal.
func (c *compiler) sameCluster(now *ir.Cluster) *ir.Cluster {
	if old := c.before.clusters[now.Name]; old != nil && old != now && reflect.DeepEqual(old, now) {
		now = old
	}
	c.now.clusters[now.Name] = now
	return now
}

// sameTable is the table as it was before, if it has the same hosts; the few that are none of a Route's are compared.
func (c *compiler) sameTable(fleet string, now *ir.RouteTable) *ir.RouteTable {
	key := fleet + " " + now.Name
	old := c.before.tables[key]
	if old != nil && slices.EqualFunc(old.Hosts, now.Hosts, func(a, b *ir.VirtualHost) bool {
		return a == b || len(a.Rules) == 1 && reflect.DeepEqual(a, b)
	}) {
		now = old
	}
	c.now.tables[key] = now
	return now
}
