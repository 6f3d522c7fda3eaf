package compile

import (
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// tableMemo is a listener's table, and all that it was made of: the Routes that join, and the listeners of the socket.
type tableMemo struct {
	turn      uint64
	number    uint64 // among all that were ever made
	listeners []listenerID
	joins     []*routeMemo

	table *ir.RouteTable
	// clusters are those that its rules name, sorted.
	clusters []string
	// idle: no Route has a host here.
	idle bool
	// rules are those of its hosts, each once.
	rules []*rulesMemo
	// Of these, all that one Route alone has, and that can be reached, is told by its place among the joins; of the others
	// there is a verdict.
	plain   []int32
	counted []counted
}

// counted is the verdict on the Routes of a host, which are told by their places among the joins.
type counted struct {
	host   string
	routes []int32
	verdict
}

// listenerID tells a listener with all that it says from any other.
type listenerID struct {
	gateway proto.Message
	field   string
}

func (l *listener) id() listenerID { return listenerID{l.gateway.doc.Message, l.field} }

// newTable begins one. Until it is done, the Routes of the listener know their places in it.
func (m *Memory) newTable(s *socket, l *listener) *tableMemo {
	m.made++
	memo := &tableMemo{number: m.made, joins: make([]*routeMemo, 0, len(l.joins))}
	for _, other := range s.listeners {
		memo.listeners = append(memo.listeners, other.id())
	}
	for i, r := range l.joins {
		memo.joins, r.place = append(memo.joins, r.memo), int32(i)
	}
	return memo
}

// holds says whether the table would come out the same.
func (m *tableMemo) holds(s *socket, l *listener) bool {
	return slices.EqualFunc(m.listeners, s.listeners, func(id listenerID, l *listener) bool { return id == l.id() }) &&
		slices.EqualFunc(m.joins, l.joins, func(memo *routeMemo, r *route) bool { return memo == r.memo })
}

// use notes that a host has these rules.
func (m *tableMemo) use(host string, routes []*route, rules *rulesMemo) {
	if rules.table == m.number {
		return
	}
	rules.table = m.number
	m.rules = append(m.rules, rules)
	m.clusters = append(m.clusters, rules.clusters...)
	if len(routes) == 1 && len(rules.verdict.hidden) == 0 {
		m.plain = append(m.plain, routes[0].place)
		return
	}
	x := counted{host: host, verdict: rules.verdict}
	for _, r := range routes {
		x.routes = append(x.routes, r.place)
	}
	m.counted = append(m.counted, x)
}

// done ends it, with the table as it was before if that has the same hosts; the few that are none of a Route's are compared.
func (m *tableMemo) done(table, before *ir.RouteTable) {
	if before != nil && slices.EqualFunc(before.Hosts, table.Hosts, func(a, b *ir.VirtualHost) bool {
		return a == b || len(a.Rules) == 1 && reflect.DeepEqual(a, b)
	}) {
		table = before
	}
	m.table = table
	slices.Sort(m.clusters)
	m.clusters = slices.Compact(m.clusters)
}

// tableOf is a listener's table, made if it is not as it was, and what there is to warn about.
func (c *compiler) tableOf(fleet string, s *socket, l *listener) *tableMemo {
	key := fleet + " " + l.name
	memo := c.memory.tables[key]
	switch {
	case memo == nil:
		memo = c.newTable(s, l, nil)
	case !memo.holds(s, l):
		memo = c.newTable(s, l, memo.table)
	}
	c.memory.tables[key] = memo
	c.memory.use(&memo.turn, &c.memory.used.tables)
	for _, rules := range memo.rules {
		c.memory.use(&rules.turn, &c.memory.used.rules)
	}
	for _, i := range memo.plain {
		r := l.joins[i]
		for n := range r.rules {
			r.reached[n] = r.reached[n] || len(r.rules[n].ir) > 0
		}
	}
	for _, x := range memo.counted {
		routes := make([]*route, len(x.routes))
		for n, i := range x.routes {
			routes[n] = l.joins[i]
		}
		c.tally.add(x.host, routes, x.verdict)
	}
	if memo.idle {
		c.idle = append(c.idle, l)
	}
	return memo
}
