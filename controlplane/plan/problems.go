package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// problems are those that there would be. One is known if it is there now: where it stands may have changed.
func problems(now *served.Served, next *prospect) []*adminv1.PlanProblem {
	known := map[string]bool{}
	for _, p := range now.Result.Problems {
		known[identity(p)] = true
	}
	var out []*adminv1.PlanProblem
	for _, p := range next.Problems {
		out = append(out, &adminv1.PlanProblem{Problem: served.Problem(p), Known: known[identity(p)]})
	}
	return append(out, sharedHosts(now, next)...)
}

// doubts tells of documents that are held back for as long as it takes to find out whether proxies refuse them, or others that came
// along: then it is a problem, or they are served.
func doubts(now *served.Served, next *prospect, set store.Set) (out []*adminv1.PlanProblem) {
	at := map[definition.Ref]definition.Position{}
	for _, d := range set.Documents {
		at[d.Ref] = d.Position
	}
	for ref, hold := range set.Held {
		if !next.Held[ref] || hold.Why != "" {
			continue
		}
		position, there := at[ref]
		if !there && hold.Instead != nil {
			position = hold.Instead.Position
		}
		out = append(out, &adminv1.PlanProblem{Problem: served.Problem(store.Problem{Problem: definition.Problem{
			Position: position, Code: definition.CodeRefused, Severity: definition.SeverityWarning, Ref: ref,
			Message: "proxies have refused what it came with: it waits until it is known whether they refuse this",
		}}), Known: now.Result.Held[ref]})
	}
	slices.SortFunc(out, func(a, b *adminv1.PlanProblem) int {
		return compare(a.GetProblem().GetDocument(), b.GetProblem().GetDocument())
	})
	return out
}

// sharedHosts tells of documents that begin to serve a host which others serve on the same listener. It is right where it is
// meant, so it is told once, by the plan that brings it, and not beside an overlap of rules, which says more.
func sharedHosts(now *served.Served, next *prospect) (out []*adminv1.PlanProblem) {
	before := map[sharing]bool{}
	for _, s := range sharings(now.Result.Compiled.Fleets) {
		before[sharing{table: s.table, host: s.host, ref: s.ref}] = true
	}
	told := map[definition.Ref]bool{}
	for _, p := range next.Problems {
		told[p.Ref] = told[p.Ref] || p.Code == definition.CodeOverlap || p.Code == definition.CodeUnreachableRule
	}
	documents := map[definition.Ref]*definition.Document{}
	for _, d := range next.Documents {
		documents[d.Ref] = d
	}
	for _, s := range sharings(next.Compiled.Fleets) {
		d := documents[s.ref]
		if before[sharing{table: s.table, host: s.host, ref: s.ref}] || told[s.ref] || d == nil {
			continue
		}
		told[s.ref] = true // of many hosts the first will do
		out = append(out, &adminv1.PlanProblem{Problem: served.Problem(store.Problem{Problem: definition.Problem{
			Position: d.At("hosts"), Code: definition.CodeHostTwice, Severity: definition.SeverityWarning, Ref: s.ref, Field: "hosts",
			Message: fmt.Sprintf("%s serves %s on listener %s, too: it is asked before this one", s.first, s.host, s.table),
		}})})
	}
	return out
}

// sharing is a host of a listener that a document serves after another one.
type sharing struct {
	table, host string
	ref, first  definition.Ref
}

func sharings(fleets []*ir.Fleet) (out []sharing) {
	for _, f := range fleets {
		for _, t := range f.RouteTables {
			for _, h := range t.Hosts {
				if len(h.Rules) < 2 {
					continue
				}
				first := served.DocumentOf(h.Rules[0].ID)
				last := first
				for i := range h.Rules {
					if ref := served.DocumentOf(h.Rules[i].ID); ref != last {
						last = ref
						out = append(out, sharing{t.Name, h.Host, ref, first})
					}
				}
			}
		}
	}
	return out
}

func identity(p store.Problem) string {
	return strings.Join([]string{p.Code, p.Ref.String(), p.Field}, " ")
}

// text is what protobuf takes for a string: it must be UTF-8, which a file's name need not be.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func compare(a, b string) int { return cmp.Compare(a, b) }
