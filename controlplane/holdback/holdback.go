// Package holdback finds the documents that bring what connected proxies do not support, and keeps them from being served.
//
// In: what stands in the files, a store that decides about it, and a negotiate.Room that knows the proxies. Out: what is served,
// with a problem for each document that is held back, and one for what runs and a proxy that came later does not support. It
// must not know how snapshots are made, nor how anything is sent.
package holdback

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/negotiate"
	"github.com/sluice-proxy/sluice/controlplane/provenance"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

const (
	// maxTrials bounds how often is compiled to find the documents that bring what proxies lack. What is not told apart by then
	// is held back together.
	maxTrials = 64
	// maxLacking is how many warnings there are of one class of proxies.
	maxLacking = 8
)

// Documents decide what is served, as a store.Store does.
type Documents interface {
	Update(store.Set) *store.Result
	Accepted() map[definition.Ref]*definition.Document
}

// Gate is for one goroutine.
type Gate struct {
	// Room knows the proxies.
	Room *negotiate.Room
	// Preview: this is only a question, and the room remembers nothing of it.
	Preview   bool
	Documents Documents
	// Build makes snapshots of some fleets, by name. A fleet that cannot be built may be left out.
	Build func(result *store.Result, fleets []string) map[string]*snapshot.Snapshot

	// unfit are held back, as it was found when the room was at seq.
	unfit map[definition.Ref]store.Held
	seq   uint64
}

// Update decides what is served: no new document that brings what a class of its fleet's proxies does not support. Which ones
// those are is tried out, by halves, since what a document comes to depends on others. What runs is never asked about:
// published is that, by fleet.
func (g *Gate) Update(set store.Set, published map[string]*snapshot.Snapshot) *store.Result {
	fleets := g.Room.Fleets()
	if seq := g.Room.Seq(); seq != g.seq { // who was in the way may be gone
		g.unfit, g.seq = nil, seq
	}
	if len(fleets) == 0 {
		return g.Documents.Update(set)
	}
	t := &trials{Gate: g, set: set, fleets: fleets, before: g.Documents.Accepted(), held: map[definition.Ref]store.Held{}}
	for _, d := range set.Documents {
		if h, ok := g.unfit[d.Ref]; ok && h.Hash == d.Hash {
			t.held[d.Ref] = h
		}
	}
	result := t.try(nil)
	if len(t.news(g.Build(result, fleets), published)) > 0 {
		t.find(result)
		result = t.try(nil)
	}
	g.unfit = t.held
	return t.warned(result)
}

// trials look for the documents to hold back.
type trials struct {
	*Gate
	set    store.Set
	fleets []string // with proxies that lack something
	// before are the last good versions at the start.
	before map[definition.Ref]*definition.Document
	// held are found.
	held map[definition.Ref]store.Held
	// base is what there is with none of the changes.
	base  map[string]*snapshot.Snapshot
	count int
}

// try is what would be served without what is held, and without these.
func (t *trials) try(without map[definition.Ref]*definition.Document) *store.Result {
	set := t.set
	set.Held = map[definition.Ref]store.Held{}
	for ref, d := range without {
		set.Held[ref] = store.Held{Hash: d.Hash, Instead: t.before[ref]}
	}
	maps.Copy(set.Held, t.held)
	maps.Copy(set.Held, t.set.Held)
	t.count++
	return t.Documents.Update(set)
}

// news are what proxies lack now and did not before.
func (t *trials) news(now, before map[string]*snapshot.Snapshot) []negotiate.Lack {
	var out []negotiate.Lack
	for _, name := range t.fleets {
		if now[name] != nil {
			out = append(out, t.lacks(name, now[name], before[name])...)
		}
	}
	return slices.DeleteFunc(out, func(l negotiate.Lack) bool { return !l.New })
}

func (g *Gate) lacks(fleet string, now, before *snapshot.Snapshot) []negotiate.Lack {
	if g.Preview {
		return g.Room.WouldLack(fleet, now, before)
	}
	return g.Room.Lacks(fleet, now, before)
}

// find holds back what is to blame. With several together, as few as will do: each is admitted that does no harm beside
// those before it.
func (t *trials) find(result *store.Result) {
	var changed []*definition.Document
	out := map[definition.Ref]*definition.Document{}
	for _, d := range result.Documents {
		if old := t.before[d.Ref]; old == nil || old.Hash != d.Hash {
			changed = append(changed, d)
			out[d.Ref] = d
		}
	}
	t.base = t.Build(t.try(out), t.fleets)
	t.admit(changed, out)
}

// admit takes documents out of those that are left out, as far as they do no harm.
func (t *trials) admit(documents []*definition.Document, out map[definition.Ref]*definition.Document) {
	if len(documents) == 0 {
		return
	}
	for _, d := range documents {
		delete(out, d.Ref)
	}
	news := t.news(t.Build(t.try(out), t.fleets), t.base)
	switch {
	case len(news) == 0:
	case len(documents) == 1 || t.count >= maxTrials:
		why := news[0].String()
		if len(news) > 1 {
			why += fmt.Sprintf("; and %d more", len(news)-1)
		}
		if len(documents) > 1 {
			why = fmt.Sprintf("one of %d documents brings what is not supported: %s", len(documents), why)
		}
		for _, d := range documents {
			t.held[d.Ref] = store.Held{Hash: d.Hash, Instead: t.before[d.Ref], Why: why, Code: definition.CodeUnsupported}
		}
	default:
		for _, d := range documents {
			out[d.Ref] = d
		}
		half := len(documents) / 2
		t.admit(documents[:half], out)
		t.admit(documents[half:], out)
	}
}

// warned tells of what runs and is not supported by proxies that came later.
func (t *trials) warned(result *store.Result) *store.Result {
	snapshots := t.Build(result, t.fleets)
	type about struct {
		class *negotiate.Class
		field string
	}
	told, count := map[about]bool{}, map[*negotiate.Class]int{}
	var problems []store.Problem
	for _, name := range t.fleets {
		if snapshots[name] == nil {
			continue
		}
		for _, l := range t.lacks(name, snapshots[name], nil) {
			a := about{l.Class, l.TypeURL + l.Field}
			if told[a] || count[l.Class] == maxLacking {
				continue
			}
			told[a] = true
			count[l.Class]++
			p := definition.Problem{Code: definition.CodeLacking, Severity: definition.SeverityWarning, Message: l.String() + ": it is served all the same, since it was there first"}
			p.Ref, p.Position = documentOf(result, l)
			problems = append(problems, store.Problem{Problem: p})
		}
	}
	if len(problems) == 0 {
		return result
	}
	with := *result
	with.Problems = slices.Concat(result.Problems, problems)
	store.SortProblems(with.Problems)
	return &with
}

// documentOf is the document that a resource came from. Of a virtual host, or a table of them, that came from several nobody knows
// which one it is: then it is the Gateway that has them.
func documentOf(result *store.Result, l negotiate.Lack) (ref definition.Ref, at definition.Position) {
	origins := provenance.Find(result.Compiled, l.Fleet, l.TypeURL, l.Resource)
	if i := strings.LastIndexByte(l.Resource, '/'); l.TypeURL == resource.VirtualHostType && len(origins) > 1 && i > 0 {
		origins = provenance.Find(result.Compiled, l.Fleet, resource.RouteType, l.Resource[:i])
	}
	if len(origins) == 0 {
		return ref, at
	}
	parts := strings.SplitN(origins[0].Document, "/", 3)
	return definition.Ref{Kind: parts[0], Name: parts[1]}, origins[0].Position
}
