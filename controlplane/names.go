package controlplane

import (
	"fmt"
	"slices"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// withServers puts servers in the place of SRV names, and tells of those that do not resolve; waiting has the fleets with
// a name of which nothing is known yet.
func (b *builder) withServers(result *store.Result) (served *store.Result, waiting map[string]bool) {
	fleets, waiting := b.names.Resolve(result.Compiled.Fleets)
	compiled := *result.Compiled
	compiled.Fleets = fleets
	served = &store.Result{Compiled: &compiled, Problems: result.Problems, Documents: result.Documents, Files: result.Files}
	if problems := b.nameProblems(result); len(problems) > 0 {
		served.Problems = slices.Concat(result.Problems, problems)
		store.SortProblems(served.Problems)
	}
	return served, waiting
}

// nameProblems are one for each endpoint whose SRV records do not resolve, or not all.
func (b *builder) nameProblems(result *store.Result) (problems []store.Problem) {
	told := map[definition.Ref]bool{} // a Service may be in several fleets
	for _, f := range result.Compiled.Fleets {
		for _, c := range f.Clusters {
			ref := definition.Ref{Kind: "Service", Name: c.Name}
			if c.SRV == nil || told[ref] {
				continue
			}
			told[ref] = true
			problems = append(problems, b.problemsOf(result, c, ref)...)
		}
	}
	return problems
}

func (b *builder) problemsOf(result *store.Result, c *ir.Cluster, ref definition.Ref) (problems []store.Problem) {
	at := slices.IndexFunc(result.Documents, func(d *definition.Document) bool { return d.Ref == ref })
	if at < 0 {
		return nil
	}
	for i, e := range c.Endpoints {
		if e.Address.Records == "" {
			continue
		}
		fault, servers := b.names.Fault(c.SRV, e.Address.Records)
		if fault == "" {
			continue
		}
		consequence := fmt.Sprintf("what was known last is served: %d servers", servers)
		if servers == 0 {
			consequence = "no server is known"
		}
		field := fmt.Sprintf("endpoints[%d].address", i)
		problems = append(problems, store.Problem{Problem: definition.Problem{
			Position: result.Documents[at].At(field), Code: definition.CodeNameFails, Severity: definition.SeverityWarning, Ref: ref,
			Field: field, Message: fmt.Sprintf("%s: %s; %s", e.Address, fault, consequence),
		}})
	}
	return problems
}
