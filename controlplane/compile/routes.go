package compile

import (
	"cmp"
	"fmt"
	"slices"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// route is a Route, or the one that a Service with hosts stands for.
type route struct {
	// doc is where it is written: a Route or a Service.
	doc  *definition.Document
	memo *routeMemo
	msg  *sluicev1.Route // with defaults
	// rules are the rules of the language; each stands for one or more ir.Rules.
	rules []rule
	// listeners that it joins, sorted by name. They may be another Route's, too.
	listeners []*listener
	// reached says of each rule whether it can match somewhere.
	reached []bool
	// place is where it stands among the joins of the listener whose table is being made.
	place int32
}

type rule struct {
	id    string // Route/shop#name
	field string // rules[0]; "" in a Service's short form
	ir    []ir.Rule
}

// resolveRoutes makes the rules of every Route, and of every Service that publishes itself. A Route with a fault is left
// out as a whole: without one of its rules, requests would go to a later one that was not meant for them.
func (c *compiler) resolveRoutes() {
	sources := c.routeSources()
	all := make([]route, len(sources))
	c.routes = make([]*route, 0, len(sources))
	rules := 0
	for i, from := range sources {
		r := &all[i]
		r.doc, r.memo = from.doc, c.memory.route(from)
		r.msg = r.memo.msg
		if c.route(r) {
			c.routes = append(c.routes, r)
			rules += len(r.rules)
		}
	}
	reached := make([]bool, rules)
	for _, r := range c.routes {
		n := len(r.rules)
		r.reached, reached = reached[:n:n], reached[n:]
	}
}

// routeSource is where a Route comes from: a document, and, if that is a Service, what it stands for.
type routeSource struct {
	doc       *definition.Document
	published *sluicev1.Route // with defaults
}

// routeSources are all Routes, sorted by name. A name that both a Route and a Service with hosts have is that of one of them.
func (c *compiler) routeSources() []routeSource {
	sources := make([]routeSource, 0, len(c.docs)+len(c.sorted))
	long := c.docs
	for _, s := range c.sorted {
		if s.memo.published == nil {
			continue
		}
		for len(long) > 0 && long[0].Ref.Name < s.doc.Ref.Name {
			sources, long = append(sources, routeSource{doc: long[0]}), long[1:]
		}
		short := routeSource{s.doc, s.memo.published}
		if len(long) > 0 && long[0].Ref.Name == s.doc.Ref.Name {
			sources, long = append(sources, c.oneOf(routeSource{doc: long[0]}, short)), long[1:]
			continue
		}
		sources = append(sources, short)
	}
	for _, d := range long {
		sources = append(sources, routeSource{doc: d})
	}
	return sources
}

// oneOf decides between a Route and a Service with hosts, of one name.
func (c *compiler) oneOf(long, short routeSource) routeSource {
	loser, winner, field := long, short, "name"
	if c.in.Served[long.doc.Ref] != nil && !c.publishes(short.doc.Ref) {
		loser, winner, field = short, long, "hosts"
	}
	c.errorf(loser.doc, field, definition.CodeDuplicateName, "got a Route %s, which %s (%s) is already: a Service with hosts is a Route of its name",
		long.doc.Ref.Name, winner.doc.Ref, winner.doc.Position)
	return winner
}

// publishes says whether the Service, as it is served now, has hosts.
func (c *compiler) publishes(ref definition.Ref) bool {
	d := c.in.Served[ref]
	if d == nil {
		return false
	}
	s, ok := d.Message.(*sluicev1.Service)
	return ok && len(s.GetHosts()) > 0
}

func (r *route) short() bool { return r.doc.Ref.Kind == "Service" }

// route resolves what a Route refers to.
func (c *compiler) route(r *route) bool {
	ok := true
	for i, ref := range r.msg.GetGateways() {
		joined, good := c.join(r.doc, i, ref)
		ok = ok && good
		if i == 0 {
			r.listeners = joined
			continue
		}
		r.listeners = slices.Concat(r.listeners, joined)
		slices.SortFunc(r.listeners, func(a, b *listener) int { return cmp.Compare(a.name, b.name) })
		r.listeners = slices.Compact(r.listeners)
	}
	if ok && len(r.listeners) == 0 {
		// Its own references are right, yet it would be served nowhere: that is told, so that what it was before goes on.
		c.errorf(r.doc, "gateways", definition.CodeUnknownListener, "every listener that it joins is held back: see %s", c.heldListeners(r.msg.GetGateways()))
		for _, ref := range r.msg.GetGateways() {
			to := definition.Ref{Kind: "Listener", Name: ref}
			c.out.Missing[to] = append(c.out.Missing[to], r.doc.Ref)
		}
		ok = false
	}
	if !c.recall(r) {
		right := c.rules(r)
		ok = ok && right
	}
	return ok && c.affordable(r)
}

// rules makes a Route's rules.
func (c *compiler) rules(r *route) bool {
	ok, problems := true, len(c.out.Problems)
	for i, m := range r.msg.GetRules() {
		field := fmt.Sprintf("rules[%d]", i)
		if r.short() {
			field = ""
		}
		rule, good := c.rule(r, field, m)
		ok = ok && good
		r.rules = append(r.rules, rule)
	}
	if ok && len(c.out.Problems) == problems {
		c.keepRules(r)
	}
	return ok
}

// maxProduct is how many rules one Route may stand for on one listener: a proxy has each match for each host. Some
// kilobytes of text could take up its memory otherwise.
const maxProduct = 100_000

// affordable bounds what a Route is multiplied out to.
func (c *compiler) affordable(r *route) bool {
	matches := 0
	for _, x := range r.rules {
		matches += len(x.ir)
	}
	for _, l := range r.listeners {
		hosts := 0
		for _, own := range l.msg.GetHosts() {
			for _, written := range r.msg.GetHosts() {
				if _, ok := intersect(own, written); ok {
					hosts++
				}
			}
		}
		if hosts*matches > maxProduct {
			c.errorf(r.doc, "hosts", definition.CodeInvalidValue, "got %d hosts on listener %s times %d matches, which is %d rules for each proxy, want at most %d: split the Route, or use a wildcard host",
				hosts, l.name, matches, hosts*matches, maxProduct)
			return false
		}
	}
	return true
}

// rule resolves one rule and multiplies its matches out.
func (c *compiler) rule(r *route, field string, m *sluicev1.Rule) (rule, bool) {
	out := rule{id: "Route/" + r.msg.GetName() + "#" + m.GetName(), field: field}
	template := ir.Rule{ID: out.id}
	ok := true
	var err error
	if template.Timeout, err = definition.ParseDuration(m.GetTimeout()); err != nil {
		c.errorf(r.doc, field+".timeout", definition.CodeDuration, "got %s: %v", m.GetTimeout(), err)
		ok = false
	}
	if text := m.GetIdleTimeout(); text != "" {
		idle, err := definition.ParseDuration(text)
		if err != nil {
			c.errorf(r.doc, field+".idleTimeout", definition.CodeDuration, "got %s: %v", text, err)
			ok = false
		}
		template.IdleTimeout = &idle
	}
	template.RequestHeaders, template.ResponseHeaders = headerChanges(m.GetRequestHeaders()), headerChanges(m.GetResponseHeaders())
	switch {
	case m.GetRedirect() != nil:
		template.Redirect = redirect(m.GetRedirect())
	case m.GetRespond() != nil:
		template.Respond = &ir.Response{
			Status: int(m.GetRespond().GetStatus()), Body: m.GetRespond().GetBody(), ContentType: m.GetRespond().GetContentType(),
		}
	default:
		backends := field + ".backends"
		if r.short() {
			backends = ""
		}
		var good bool
		template.Backends, good = c.backends(r.doc, backends, m.GetBackends())
		template.Upgrades = m.GetUpgrades().GetProtocols()
		template.Rewrite = rewrite(m.GetRewrite())
		template.Retry = retry(m.GetRetry())
		ok = ok && good
		template.Mirrors, good = c.mirrors(r.doc, field+".mirror", m.GetMirror())
		ok = ok && good
	}
	matches := m.GetMatches()
	if len(matches) == 0 {
		matches = []*sluicev1.Match{m.GetMatch()} // nil is anything
	}
	for _, match := range matches {
		for _, one := range expandMatch(match) {
			template.Match = one
			out.ir = append(out.ir, template)
		}
	}
	if from := m.GetServiceFromHeader(); from != nil {
		var good bool
		out.ir, good = c.fromHeader(r.doc, field+".serviceFromHeader", from, out.ir)
		ok = ok && good
	}
	return out, ok
}

func redirect(m *sluicev1.Redirect) *ir.Redirect {
	return &ir.Redirect{
		Scheme: m.GetScheme(), Host: m.GetHost(), Port: uint16(m.GetPort()), Status: int(m.GetStatusCode()),
		Path: m.GetPath(), Prefix: m.GetPathPrefix(), StripQuery: m.GetStripQuery(),
	}
}

func headerChanges(m *sluicev1.HeaderChanges) *ir.HeaderChanges {
	if m == nil {
		return nil
	}
	c := &ir.HeaderChanges{Remove: m.GetRemove()}
	for _, h := range m.GetSet() {
		c.Set = append(c.Set, ir.HeaderValue{Name: h.GetName(), Value: h.GetValue()})
	}
	for _, h := range m.GetAdd() {
		c.Add = append(c.Add, ir.HeaderValue{Name: h.GetName(), Value: h.GetValue()})
	}
	return c
}

func rewrite(m *sluicev1.Rewrite) *ir.Rewrite {
	if m == nil {
		return nil
	}
	return &ir.Rewrite{
		Host: m.GetHost(), Prefix: m.GetPathPrefix(), Path: m.GetPath(),
		Pattern: m.GetPathRegex().GetPattern(), Substitution: m.GetPathRegex().GetSubstitution(),
	}
}

// joinRoutes tells each listener its Routes, and warns about hosts that fit nowhere.
func (c *compiler) joinRoutes() {
	for _, r := range c.routes {
		for _, l := range r.listeners {
			l.joins = append(l.joins, r)
		}
		if len(r.listeners) == 0 {
			continue
		}
		for i, host := range r.msg.GetHosts() {
			fits := slices.ContainsFunc(r.listeners, func(l *listener) bool {
				return slices.ContainsFunc(l.msg.GetHosts(), func(h string) bool { _, ok := intersect(h, host); return ok })
			})
			if !fits {
				c.warnf(r.doc, indexed("hosts", i), definition.CodeUnreachableRule, "got %s, which fits no host of the listeners that it joins (%s): no request for it comes here",
					host, r.listeners[0].name)
			}
		}
	}
}

func indexed(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }
