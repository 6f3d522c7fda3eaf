package plan

import (
	"slices"
	"strings"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// What becomes of something.
const (
	added   = "added"
	changed = "changed"
	removed = "removed"
)

// documents compares what is served with what would be. Both are sorted by name. Where a document stands, and comments in
// it, do not count.
func documents(old []*definition.Document, result *store.Result, b *budget) (changes []*adminv1.DocumentChange, unchanged uint32) {
	before := map[definition.Ref]*definition.Document{}
	for _, d := range old {
		before[d.Ref] = d
	}
	faulty := map[definition.Ref]bool{}
	for _, p := range result.Problems {
		if p.Serving == store.ServingNothing && p.Ref.Name != "" {
			faulty[p.Ref] = true
		}
	}
	for _, d := range result.Documents {
		was := before[d.Ref]
		delete(before, d.Ref)
		switch {
		case was == nil:
			changes = append(changes, documentChange(added, d, b.text("", string(d.Text))))
		case was.Hash != d.Hash:
			changes = append(changes, documentChange(changed, d, b.text(string(was.Text), string(d.Text))))
		default:
			unchanged++
		}
	}
	for _, d := range old {
		if before[d.Ref] != nil {
			changes = append(changes, documentChange(removed, d, b.text(string(d.Text), "")))
		}
	}
	for _, c := range changes {
		kind, name, _ := strings.Cut(c.GetDocument(), "/")
		c.Faulty = c.GetChange() != removed && faulty[definition.Ref{Kind: kind, Name: name}]
	}
	slices.SortStableFunc(changes, func(x, y *adminv1.DocumentChange) int { return compare(x.GetDocument(), y.GetDocument()) })
	return changes, unchanged
}

func documentChange(change string, d *definition.Document, diff string) *adminv1.DocumentChange {
	return &adminv1.DocumentChange{Document: d.Ref.String(), Change: change, File: text(d.Position.File), Line: int32(d.Position.Line), Diff: diff}
}
