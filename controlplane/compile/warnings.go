package compile

import (
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// tally collects over all virtual hosts which Routes overlap, and which rules cannot be reached; those that can, the Routes
// know themselves.
type tally struct {
	// hidden are rules that cannot match on some host, and what takes their requests.
	hidden map[origin]origin
	// overlaps says for a Route which other one of equal priority is asked before it, and on which host.
	overlaps map[*route]overlapping
}

type overlapping struct {
	first origin
	own   int
	host  string
}

// verdict is what tally says of some rules, in terms of their places among the Routes.
type verdict struct {
	reached  []place
	hidden   [][2]place // who, and what takes its requests
	overlaps []touch
}

// place is a Route, by its index, and one of its rules.
type place struct{ route, rule int }

// touch is a Route that has requests in common with one that is asked before it.
type touch struct {
	route      int
	first, own place
}

// add notes a verdict on the Routes of a host.
func (t *tally) add(host string, routes []*route, v verdict) {
	if t.hidden == nil {
		t.hidden, t.overlaps = map[origin]origin{}, map[*route]overlapping{}
	}
	at := func(p place) origin { return origin{routes[p.route], p.rule} }
	for _, p := range v.reached {
		routes[p.route].reached[p.rule] = true
	}
	for _, pair := range v.hidden {
		if _, known := t.hidden[at(pair[0])]; !known {
			t.hidden[at(pair[0])] = at(pair[1])
		}
	}
	for _, o := range v.overlaps {
		if _, known := t.overlaps[routes[o.route]]; !known {
			t.overlaps[routes[o.route]] = overlapping{first: at(o.first), own: o.own.rule, host: host}
		}
	}
}

// judge looks at the rules of one virtual host; from and places say where each comes from.
func judge(rules []ir.Rule, from []origin, places []place) verdict {
	var v verdict
	if len(rules) == 1 {
		v.reached = places
		return v
	}
	reached, hidden := map[place]bool{}, map[place]bool{}
	reaching := newPathIndex() // what is covered by another covers nothing that this one does not
	for i, r := range rules {
		covered := false
		reaching.covering(r.Match, func(j int) bool {
			covered = from[j] != from[i] && matchCovers(rules[j].Match, r.Match)
			if covered && !hidden[places[i]] {
				hidden[places[i]] = true
				v.hidden = append(v.hidden, [2]place{places[i], places[j]})
			}
			return !covered
		})
		if covered {
			continue
		}
		if !reached[places[i]] {
			reached[places[i]] = true
			v.reached = append(v.reached, places[i])
		}
		reaching.add(r.Match, i)
	}
	v.overlaps = overlaps(rules, from, places, reaching)
	return v
}

// overlaps finds Routes of equal priority whose rules have requests in common. Two paths have some in common only if one
// covers the other, so it is enough to look for what covers each rule.
func overlaps(rules []ir.Rule, from []origin, places []place, all *pathIndex) (found []touch) {
	if len(from) == 0 || from[0].route == from[len(from)-1].route {
		return nil // there is but one Route
	}
	known := map[int]bool{}
	for i, r := range rules {
		all.touching(r.Match, func(j int) bool {
			a, b := min(i, j), max(i, j)
			if from[a].route == from[b].route || from[a].route.msg.GetPriority() != from[b].route.msg.GetPriority() || !matchOverlaps(r.Match, rules[j].Match) {
				return true
			}
			if !known[places[b].route] {
				known[places[b].route] = true
				found = append(found, touch{places[b].route, places[a], places[b]})
			}
			return false
		})
	}
	return found
}

// warnUnreachable reports rules that can match nowhere, and overlaps.
func (c *compiler) warnUnreachable() {
	for _, r := range c.routes {
		for i := range r.rules {
			o := origin{r, i}
			if by, hidden := c.tally.hidden[o]; hidden && !r.reached[i] {
				c.warnf(r.doc, r.rules[i].field, definition.CodeUnreachableRule, "this rule can never match: %s (%s) takes all of its requests", by, by.position())
			}
		}
		if o, ok := c.tally.overlaps[r]; ok && r.reached[o.own] { // else it was just said
			c.warnf(r.doc, r.rules[o.own].field, definition.CodeOverlap, "%s (%s) has requests for %s in common with this one, at the same priority: it is asked first because of its name; set priority to say so",
				o.first, o.first.position(), o.host)
		}
		c.warnOutranked(r)
	}
}

// warnOutranked reports hosts of a Route that never answer, since everywhere a more specific one does.
func (c *compiler) warnOutranked(r *route) {
	if len(r.listeners) == 0 || slices.ContainsFunc(r.rules, func(x rule) bool { return len(x.ir) == 0 }) {
		return
	}
	if _, hidden := c.tally.hidden[origin{r, 0}]; hidden || r.reached[0] {
		return
	}
	fits := slices.ContainsFunc(r.listeners, func(l *listener) bool {
		return slices.ContainsFunc(l.msg.GetHosts(), func(h string) bool {
			return slices.ContainsFunc(r.msg.GetHosts(), func(w string) bool { _, ok := intersect(h, w); return ok })
		})
	})
	if fits {
		c.warnf(r.doc, "hosts", definition.CodeUnreachableRule, "no request comes here: on each of its listeners Routes with more specific hosts, or other listeners, answer")
	}
}
