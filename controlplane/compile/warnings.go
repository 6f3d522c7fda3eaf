package compile

import (
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
)

// tally collects over all virtual hosts which rules can be reached, and which Routes overlap.
type tally struct {
	// reached are the rules that can match somewhere; hidden are the others, and what takes their requests.
	reached map[origin]bool
	hidden  map[origin]origin
	// overlaps says for a Route which other one of equal priority is asked before it, and on which host.
	overlaps map[*route]overlapping
}

type overlapping struct {
	first origin
	own   int
	host  string
}

// host looks at one virtual host; from says where each rule comes from.
func (t *tally) host(host string, rules []ir.Rule, from []origin) {
	if t.reached == nil {
		t.reached, t.hidden, t.overlaps = map[origin]bool{}, map[origin]origin{}, map[*route]overlapping{}
	}
	reaching := newPathIndex() // what is covered by another covers nothing that this one does not
	for i, r := range rules {
		covered := false
		reaching.covering(r.Match, func(j int) bool {
			covered = from[j] != from[i] && matchCovers(rules[j].Match, r.Match)
			if covered {
				if _, known := t.hidden[from[i]]; !known {
					t.hidden[from[i]] = from[j]
				}
			}
			return !covered
		})
		if !covered {
			t.reached[from[i]] = true
			reaching.add(r.Match, i)
		}
	}
	t.overlap(host, rules, from, reaching)
}

// overlap finds Routes of equal priority whose rules have requests in common. Two paths have some in common only if one
// covers the other, so it is enough to look for what covers each rule.
func (t *tally) overlap(host string, rules []ir.Rule, from []origin, all *pathIndex) {
	if len(from) == 0 || from[0].route == from[len(from)-1].route {
		return // Routes stand one after another: there is but one
	}
	for i, r := range rules {
		all.touching(r.Match, func(j int) bool {
			a, b := from[min(i, j)], from[max(i, j)]
			if a.route == b.route || a.route.msg.GetPriority() != b.route.msg.GetPriority() || !matchOverlaps(r.Match, rules[j].Match) {
				return true
			}
			if _, known := t.overlaps[b.route]; !known {
				t.overlaps[b.route] = overlapping{first: a, own: b.rule, host: host}
			}
			return false
		})
	}
}

// warnUnreachable reports rules that can match nowhere, and overlaps.
func (c *compiler) warnUnreachable() {
	for _, r := range c.routes {
		for i := range r.rules {
			o := origin{r, i}
			if by, hidden := c.tally.hidden[o]; hidden && !c.tally.reached[o] {
				c.warnf(r.doc, r.rules[i].field, definition.CodeUnreachableRule, "this rule can never match: %s (%s) takes all of its requests", by, by.position())
			}
		}
		if o, ok := c.tally.overlaps[r]; ok && c.tally.reached[origin{r, o.own}] { // else it was just said
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
	o := origin{r, 0}
	_, hidden := c.tally.hidden[o]
	if c.tally.reached[o] || hidden {
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
