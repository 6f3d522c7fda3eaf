package plan

import (
	"cmp"
	"strings"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/served"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// problems are those that there would be. One is known if it is there now: where it stands may have changed.
func problems(now *served.Served, next *store.Preview) []*adminv1.PlanProblem {
	known := map[string]bool{}
	for _, p := range now.Result.Problems {
		known[identity(p)] = true
	}
	var out []*adminv1.PlanProblem
	for _, p := range next.Problems {
		out = append(out, &adminv1.PlanProblem{Problem: served.Problem(p), Known: known[identity(p)]})
	}
	return out
}

func identity(p store.Problem) string {
	return strings.Join([]string{p.Code, p.Ref.String(), p.Field}, " ")
}

// text is what protobuf takes for a string: it must be UTF-8, which a file's name need not be.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func compare(a, b string) int { return cmp.Compare(a, b) }
