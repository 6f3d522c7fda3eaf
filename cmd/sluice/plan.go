package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/plan"
	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

const (
	// planTimeout is for a plan: it compiles everything, and waits for its turn.
	planTimeout = time.Minute
	// maxPlan is what a control plane takes, in bytes of definitions; maxAnswer is what is taken of it.
	maxPlan, maxAnswer = 15 << 20, 32 << 20
	// exitChanges is the exit code of --exit-code.
	exitChanges = exitCode(3)
)

func newPlanCommand() *cobra.Command {
	var server serverFlags
	var paths []string
	var output string
	var code, summary, full bool
	cmd := &cobra.Command{
		Use:     "plan -f PATH...",
		Aliases: []string{"diff"},
		Short:   "Show what would change if the control plane's files were these",
		Long: `plan compares files with what a running control plane serves, as if they stood in
place of its own: the documents that are added, changed and removed; for each fleet
the xDS resources that change, and the proxies that get them; whose connections
drain; and what is wrong. It changes nothing. What the control plane alone knows
counts: last good versions, certificates, the answers of name servers.

The definitions are sent to the control plane; it opens no file that they name. Of
private keys a hash is sent, and differences show no secrets.

Exit codes: 0 no error; 1 errors; 2 wrong usage; with --exit-code, 3 something changes.`,
		Example: example(
			"sluice plan -f conf",
			"git diff --quiet || sluice plan -f conf --exit-code --server 10.0.0.1:18000",
			"sluice plan -f conf --summary",
			"sluice diff -f conf -o json"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkPaths(paths); err != nil {
				return err // else all would be gone, and be told as such
			}
			files, err := readDefinitions(paths, cmd.InOrStdin())
			if err != nil {
				return err
			}
			answer, err := askPlan(cmd.Context(), &server, paths, files)
			if err != nil {
				return err
			}
			if output != "" {
				err = writeMessage(cmd.OutOrStdout(), output, answer)
			} else {
				err = writePlan(cmd.OutOrStdout(), readable(answer), summary, full)
			}
			return cmp.Or(err, planCode(answer, code))
		},
	}
	filesFlag(cmd, &paths)
	server.add(cmd)
	cmd.Flags().BoolVar(&code, "exit-code", false, "end with 3 if something changes")
	cmd.Flags().BoolVar(&summary, "summary", false, "leave out the differences")
	cmd.Flags().BoolVar(&full, "full", false, "show all differences, of resources that come or go, too")
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

// askPlan sends files to a control plane, and returns what would change.
func askPlan(ctx context.Context, server *serverFlags, paths []string, files []source.File) (*adminv1.PlanResponse, error) {
	request, err := planRequest(paths, files)
	if err != nil {
		return nil, err
	}
	return askDocuments(ctx, server, planTimeout, adminv1.DefinitionServiceClient.Plan, request)
}

// planCode is how the command ends.
func planCode(answer *adminv1.PlanResponse, code bool) error {
	for _, p := range answer.GetProblems() {
		if p.GetProblem().GetSeverity() == string(definition.SeverityError) {
			return errReported
		}
	}
	for _, f := range answer.GetFleets() {
		if f.GetError() != "" {
			return errReported
		}
	}
	if code && (len(answer.GetDocuments()) > 0 || len(answer.GetFleets()) > 0) {
		return exitChanges
	}
	return nil
}

// planRequest has files, and what the files of their certificates hold, but for the keys.
func planRequest(paths []string, files []source.File) (*adminv1.PlanRequest, error) {
	request := &adminv1.PlanRequest{}
	size := 0
	for _, f := range files {
		file := &adminv1.DefinitionFile{Path: strings.ToValidUTF8(f.Path, "\uFFFD"), Relative: strings.ToValidUTF8(relativeTo(paths, f.Path), "\uFFFD"), Data: f.Data}
		if f.Err != nil {
			file.Error = strings.ToValidUTF8(f.Err.Error(), "\uFFFD")
		}
		size += len(f.Data)
		request.Files = append(request.Files, file)
	}
	if size > maxPlan {
		return nil, fmt.Errorf("got %d bytes of definitions, want at most %d", size, maxPlan)
	}
	request.Materials = materials(files)
	return request, nil
}

func relativeTo(paths []string, file string) string {
	for _, p := range paths {
		if name, ok := plan.Relative(p, file); ok {
			return name
		}
	}
	return file
}

// materials are what Certificates and TrustBundles name.
func materials(files []source.File) (list []*adminv1.Material) {
	var parse store.Files
	read := store.NewCertificates().Reader()
	for _, d := range parse.Set(files).Documents {
		switch m := d.Message.(type) {
		case *sluicev1.TrustBundle:
		case *sluicev1.Certificate:
			if m.GetFiles() == nil {
				continue
			}
		default:
			continue
		}
		chain, key, err := read(d)
		material := &adminv1.Material{Document: d.Ref.String(), Chain: chain}
		if len(key) > 0 {
			material.KeySha256 = store.KeySum(key)
		}
		if err != nil {
			material.Error = strings.ToValidUTF8(err.Error(), "\uFFFD")
			var bad *compile.CertificateError
			if errors.As(err, &bad) {
				material.Code, material.Field = bad.Code, bad.Field
			}
		}
		list = append(list, material)
	}
	return list
}

// fewDocuments, and of each fleet fewAlike resources of a type that change in the same way, are shown without --full.
const fewDocuments, fewAlike = 50, 10

var marks = map[string]string{"added": "+", "changed": "~", "removed": "-"}

func writePlan(w io.Writer, answer *adminv1.PlanResponse, summary, full bool) error {
	var b strings.Builder
	diff := func(text string) {
		if summary || text == "" {
			return
		}
		for line := range strings.SplitSeq(text, "\n") {
			b.WriteString("      " + line + "\n")
		}
	}
	for i, d := range answer.GetDocuments() {
		if more := len(answer.GetDocuments()) - i; !full && i == fewDocuments && more > 1 {
			fmt.Fprintf(&b, "and %d more documents (--full shows them)\n", more)
			break
		}
		fmt.Fprintf(&b, "%s %s  (%s:%d)", marks[d.GetChange()], d.GetDocument(), d.GetFile(), d.GetLine())
		if d.GetFaulty() {
			b.WriteString("  not served, or not all of it: see below")
		}
		b.WriteString("\n")
		diff(d.GetDiff())
	}
	for _, f := range answer.GetFleets() {
		fmt.Fprintf(&b, "%sfleet %s: %s\n", gap(&b), f.GetFleet(), proxiesText(f.GetProxies()))
		if f.GetError() != "" {
			fmt.Fprintf(&b, "  it could not be served, and would keep what it has: %s\n", f.GetError())
		}
		seen, all := map[string]int{}, map[string]int{}
		for _, r := range f.GetResources() {
			all[r.GetChange()+r.GetType()]++
		}
		for _, r := range f.GetResources() {
			like := r.GetChange() + r.GetType()
			seen[like]++
			if more := all[like] - fewAlike; !full && seen[like] > fewAlike && more > 1 {
				if seen[like] == fewAlike+1 {
					fmt.Fprintf(&b, "  %s %s: %d more (--full shows them)\n", marks[r.GetChange()], r.GetType(), more)
				}
				continue
			}
			fmt.Fprintf(&b, "  %s %s %s\n", marks[r.GetChange()], r.GetType(), r.GetName())
			if full || r.GetChange() == "changed" {
				diff(r.GetDiff())
			}
		}
		for _, line := range drainTexts(f.GetDrains()) {
			fmt.Fprintf(&b, "  ! %s\n", line)
		}
	}
	var problems []string
	for _, p := range answer.GetProblems() {
		line := planProblem(p)
		problems = append(problems, line)
	}
	for _, n := range answer.GetNotes() {
		problems = append(problems, "note: "+n)
	}
	if len(problems) > 0 {
		b.WriteString(gap(&b) + strings.Join(problems, "\n") + "\n")
	}
	b.WriteString(gap(&b) + planSummary(answer) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// gap is an empty line between parts.
func gap(b *strings.Builder) string {
	if b.Len() == 0 {
		return ""
	}
	return "\n"
}

func proxiesText(list []*adminv1.ConcernedProxy) string {
	if len(list) == 0 {
		return "no proxy is connected"
	}
	const most = 10
	var names []string
	for _, p := range list[:min(most, len(list))] {
		name := p.GetId() + " (" + p.GetAgent()
		if !p.GetConnected() {
			name += ", not connected"
		}
		names = append(names, name+")")
	}
	if more := len(list) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

var proxyKinds = map[string]string{"envoy": "Envoy drains", "sluice": "the Go proxy drains"}

// drainTexts is a line for each, and one for both kinds of proxy where they do alike.
func drainTexts(drains []*adminv1.Drain) (lines []string) {
	var who, what []string
	for _, d := range drains {
		whose := "all connections of listener " + d.GetListener()
		if scope := slices.Concat(d.GetChains(), d.GetNames()); len(scope) > 0 {
			whose = "connections of listener " + d.GetListener() + " (" + strings.Join(scope, ", ") + ")"
		}
		whose += ": " + d.GetWhy()
		if at := slices.Index(what, whose); at >= 0 {
			who[at] = "both kinds of proxy drain"
			continue
		}
		who, what = append(who, proxyKinds[d.GetProxies()]), append(what, whose)
	}
	for i := range what {
		lines = append(lines, who[i]+" "+what[i])
	}
	return lines
}

// planProblem is a line as `validate` has it.
func planProblem(p *adminv1.PlanProblem) string {
	problem := problemOf(p.GetProblem())
	severity := ""
	if problem.Severity == definition.SeverityWarning {
		severity = "warning: "
	}
	line := fmt.Sprintf("%s: %s%s [%s]", problem.Position, severity, problem.Text(), problem.Code)
	if serving := p.GetProblem().GetServing(); serving != "" {
		line += " (served in its place: " + serving + ")"
	}
	if p.GetKnown() {
		line += " (so it is now, too)"
	}
	return line
}

func problemOf(p *adminv1.Problem) definition.Problem {
	out := definition.Problem{
		Position: definition.Position{File: p.GetFile(), Line: int(p.GetLine()), Column: int(p.GetColumn())},
		Code:     p.GetCode(), Severity: definition.Severity(p.GetSeverity()), Field: p.GetField(), Message: p.GetMessage(),
	}
	out.Ref.Kind, out.Ref.Name, _ = strings.Cut(p.GetDocument(), "/")
	return out
}

func planSummary(answer *adminv1.PlanResponse) string {
	if len(answer.GetDocuments()) == 0 && len(answer.GetFleets()) == 0 {
		return fmt.Sprintf("No changes: %d documents stay as they are served.", answer.GetUnchanged())
	}
	counts := map[string]int{}
	for _, d := range answer.GetDocuments() {
		counts[d.GetChange()]++
	}
	resources, proxies := 0, 0
	for _, f := range answer.GetFleets() {
		resources += len(f.GetResources())
		proxies += len(slices.DeleteFunc(slices.Clone(f.GetProxies()), func(p *adminv1.ConcernedProxy) bool { return !p.GetConnected() }))
	}
	return fmt.Sprintf("Plan: documents: %d added, %d changed, %d removed, %d unchanged; %d resources of %d fleets for %d connected proxies.",
		counts["added"], counts["changed"], counts["removed"], answer.GetUnchanged(), resources, len(answer.GetFleets()), proxies)
}
