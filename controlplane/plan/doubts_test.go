package plan

import (
	"testing"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// TestDoubts: what waits because proxies refused what it came with is told; what was found, or is not in force, is not told here.
func TestDoubts(t *testing.T) {
	ref := func(name string) definition.Ref { return definition.Ref{Kind: "Service", Name: name} }
	at := definition.Position{File: "a.yaml", Line: 3}
	set := store.Set{
		Documents: []*definition.Document{{Ref: ref("new"), Position: at}, {Ref: ref("found")}, {Ref: ref("other")}},
		Held: map[definition.Ref]store.Held{
			ref("new"): {Hash: "1"}, ref("found"): {Hash: "2", Why: "refused"}, ref("other"): {Hash: "3"},
			ref("deleted"): {Instead: &definition.Document{Position: definition.Position{File: "b.yaml", Line: 5}}},
		},
	}
	now := &served.Served{Result: &store.Result{Held: map[definition.Ref]bool{ref("new"): true}}}
	next := &prospect{Result: &store.Result{Held: map[definition.Ref]bool{ref("new"): true, ref("found"): true, ref("deleted"): true}}}
	got := doubts(now, next, set)
	if len(got) != 2 {
		t.Fatalf("got %v, want two", got)
	}
	for i, want := range []*adminv1.Problem{{Document: "Service/deleted", File: "b.yaml", Line: 5}, {Document: "Service/new", File: "a.yaml", Line: 3}} {
		p := got[i].GetProblem()
		if p.GetDocument() != want.GetDocument() || p.GetFile() != want.GetFile() || p.GetLine() != want.GetLine() || p.GetSeverity() != "warning" || got[i].GetKnown() != (i == 1) {
			t.Errorf("got %v, want %v, known %v", got[i], want, i == 1)
		}
	}
}
