package revision

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/plan"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// Answers speak for a History in the words of the API.
type Answers struct {
	Of *History
	// Plan says what would change if a set were served.
	Plan func(ctx context.Context, set store.Set) (*adminv1.PlanResponse, error)
}

// History tells the revisions, the newest first, or one with its differences.
func (a Answers) History(request *adminv1.HistoryRequest) (*adminv1.HistoryResponse, error) {
	h := a.Of
	h.mu.Lock()
	defer h.mu.Unlock()
	out := &adminv1.HistoryResponse{}
	for i := len(h.revisions) - 1; i >= 0; i-- {
		if n := request.GetRevision(); n == 0 || n == h.revisions[i].Number {
			out.Revisions = append(out.Revisions, h.view(i, n != 0))
		}
	}
	if request.GetRevision() != 0 && len(out.Revisions) == 0 {
		_, err := h.target(request.GetRevision())
		return nil, err
	}
	for _, p := range h.pins {
		out.HeldBack = append(out.HeldBack, &adminv1.HeldBack{
			Document: p.ref().String(), Revision: p.Revision, Since: p.Since.Format(time.RFC3339), Removed: p.Serve == nil,
		})
	}
	return out, nil
}

// view is a revision; differences: with those of its documents, where the texts are still known. It needs mu.
func (h *History) view(i int, differences bool) *adminv1.Revision {
	r := h.revisions[i]
	out := &adminv1.Revision{Number: r.Number, Time: r.Time.Format(time.RFC3339), Cause: r.Cause, By: text(r.By), Like: r.Like, More: uint32(r.More)}
	for _, c := range r.Changes {
		change := &adminv1.DocumentChange{Document: c.Ref().String(), Change: "changed"}
		at := c.After
		switch {
		case c.Before == nil:
			change.Change = "added"
		case c.After == nil:
			change.Change, at = "removed", c.Before
		}
		change.File, change.Line = text(store.ShortFile(at.File)), int32(at.Line)
		if differences && i > 0 {
			old := ""
			if c.Before != nil {
				old = c.Before.Text
			}
			change.Diff = plan.Difference(old, h.textAfter(i, c.Ref()))
		}
		out.Changes = append(out.Changes, change)
	}
	return out
}

// textAfter is the text of a document as a revision left it.
func (h *History) textAfter(i int, ref definition.Ref) string {
	for _, r := range h.revisions[i+1:] {
		at := slices.IndexFunc(r.Changes, func(c Change) bool { return c.Ref() == ref })
		if at < 0 {
			continue
		}
		if before := r.Changes[at].Before; before != nil {
			return before.Text
		}
		return ""
	}
	if d := h.known[ref]; d != nil {
		return string(d.Text)
	}
	return ""
}

// Undo brings a revision back, or lifts that.
func (a Answers) Undo(ctx context.Context, request *adminv1.UndoRequest) (*adminv1.UndoResponse, error) {
	h := a.Of
	if request.GetLift() && request.GetTo() != 0 {
		return nil, grpcstatus.Error(codes.InvalidArgument, "got both a revision and lift, want one of them")
	}
	var u *Undone
	var err error
	if request.GetLift() {
		u, err = h.LiftProspect()
	} else {
		u, err = h.Prospect(request.GetTo())
	}
	if err != nil {
		return nil, err
	}
	out := &adminv1.UndoResponse{To: u.To}
	if out.Plan, err = a.Plan(ctx, u.Set); err != nil || request.GetDryRun() {
		return out, err
	}
	by := "unknown"
	if p, ok := peer.FromContext(ctx); ok {
		by = p.Addr.String()
	}
	r, err := h.Do(ctx, u, by)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if i := slices.Index(h.revisions, r); i >= 0 {
		out.Revision = h.view(i, false)
	}
	return out, nil
}

// text is what protobuf takes for a string: it must be UTF-8.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
