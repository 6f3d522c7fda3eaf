package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func newDescribeCommand() *cobra.Command {
	var server serverFlags
	var output string
	cmd := &cobra.Command{
		Use:   "describe KIND/NAME",
		Short: "Show a document, what it became in xDS, and who runs that",
		Long: `describe shows the version of a document that is served, as it was written; what is
wrong with it; the parts of xDS resources that it became, by fleet (secrets read
"[redacted]"); and the proxies that run them: "runs it" means that the newest of these
resources was accepted.`,
		Example: example("sluice describe Route/shop", "sluice describe service api", "sluice describe gateway/web -o json"),
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			word, name, ok := strings.Cut(strings.Join(args, "/"), "/")
			kind, known := kindOf(word)
			if !ok || name == "" || strings.Contains(name, "/") {
				return usagef("got %q, want KIND/NAME, such as Route/shop", strings.Join(args, " "))
			}
			if !known {
				return usagef("got the kind %q, want one of %s", word, strings.Join(kinds(), ", "))
			}
			request := &adminv1.DescribeRequest{Document: kind + "/" + name}
			answer, err := askDocuments(cmd.Context(), &server, callTimeout, adminv1.DefinitionServiceClient.Describe, request)
			if err != nil {
				return err
			}
			if output != "" {
				return writeMessage(cmd.OutOrStdout(), output, answer)
			}
			return writeDescription(cmd.OutOrStdout(), readable(answer))
		},
	}
	server.add(cmd)
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func writeDescription(w io.Writer, d *adminv1.DescribeResponse) error {
	var b strings.Builder
	indented := func(text, by string) {
		for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
			b.WriteString(strings.TrimRight(by+line, " ") + "\n")
		}
	}
	fmt.Fprintf(&b, "%s: %s, %s:%d\n", d.GetDocument(), d.GetState(), d.GetFile(), d.GetLine())
	if d.GetText() != "" {
		indented(d.GetText(), "  ")
	}
	if len(d.GetUsedBy()) > 0 {
		fmt.Fprintf(&b, "\nUsed by %s\n", few(d.GetUsedBy()))
	}
	if len(d.GetProblems()) > 0 {
		b.WriteString("\nProblems:\n")
		for _, p := range d.GetProblems() {
			indented(describeProblem(p), "  ")
		}
	}
	if len(d.GetResources()) == 0 {
		b.WriteString("\nNothing came of it in xDS.\n")
	}
	fleet := ""
	for _, r := range d.GetResources() {
		if r.GetFleet() != fleet {
			fleet = r.GetFleet()
			fmt.Fprintf(&b, "\nFleet %s:\n", fleet)
			for _, p := range d.GetProxies() {
				if p.GetFleet() == fleet {
					fmt.Fprintf(&b, "  %s (%s) %s\n", p.GetId(), p.GetAgent(), runsText(p))
				}
			}
		}
		fmt.Fprintf(&b, "\n  %s %s, version %s\n", r.GetType(), r.GetName(), r.GetVersion())
		indented(r.GetYaml(), "    ")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// few names ten at most.
func few(names []string) string {
	const most = 10
	text := strings.Join(names[:min(most, len(names))], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func runsText(p *adminv1.Running) string {
	switch {
	case !p.GetConnected():
		return "is not connected"
	case p.GetRuns():
		return "runs it"
	}
	return "does not run the newest: " + strings.Join(p.GetLacks(), "; ")
}
