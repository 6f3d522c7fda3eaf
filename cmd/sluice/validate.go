package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/cmd/sluice/matcher"
	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/definition/report"
	"github.com/sluice-proxy/sluice/controlplane/explain"
	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

func newValidateCommand() *cobra.Command {
	var paths []string
	var format string
	var server serverFlags
	cmd := &cobra.Command{
		Use:   "validate -f PATH...",
		Short: "Check definitions, and run their Tests",
		Long: `Checks definitions as the control plane would, and runs documents of kind Test with
the proxies' own matcher. Each problem is a line with its place and a stable code.

With --server it also asks a control plane what of it the proxies that are connected do
not support, and what they have refused already: that would be held back. (SLUICE_SERVER
alone does not make it ask.) 'sluice plan' tells more.

Exit codes: 0 no error (there may be warnings); 1 errors; 2 wrong usage.`,
		Example: example("sluice validate -f conf/", "generate | sluice validate -f -", "sluice validate -f conf/ -o github", "sluice validate -f conf/ --server 10.0.0.1:18000"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !report.KnownFormat(format) {
				return usagef("-o: got %q, want one of %s", format, strings.Join(report.Formats, ", "))
			}
			files, err := readDefinitions(paths, cmd.InOrStdin())
			if err != nil {
				return err
			}
			summary, err := validate(files)
			if err != nil {
				return err
			}
			if server.address != "" {
				held, err := heldBack(cmd.Context(), &server, paths, files)
				if err != nil {
					return err
				}
				summary.Problems = append(summary.Problems, held...)
				definition.SortProblems(summary.Problems)
			}
			if err := report.Write(cmd.OutOrStdout(), format, summary); err != nil {
				return err
			}
			if summary.Errors() > 0 {
				return errReported
			}
			return nil
		},
	}
	filesFlag(cmd, &paths)
	server.add(cmd)
	cmd.Flag("server").Usage = "`address` of a control plane whose proxies are asked about, too (default none)"
	cmd.Flags().StringVarP(&format, "output", "o", "text", "format: "+strings.Join(report.Formats, ", "))
	return cmd
}

// validate runs the first half of the control plane over the files, from nothing: no version of a document was accepted
// before, so that none stands in for one that is bad.
func validate(files []source.File) (*report.Summary, error) {
	s, err := store.Open(store.Options{})
	if err != nil {
		return nil, err
	}
	var parsed store.Files
	set := parsed.Set(files)
	result := s.Update(set)
	if err := s.Close(); err != nil {
		return nil, err
	}
	summary := &report.Summary{Files: len(files)}
	for _, f := range files {
		summary.Documents += definition.Count(f.Data)
	}
	for _, p := range result.Problems {
		summary.Problems = append(summary.Problems, p.Problem)
	}
	tests, failed := explain.RunTests(result.Compiled, set.Documents, matcher.New())
	summary.Tests = tests
	summary.Problems = append(summary.Problems, failed...)
	definition.SortProblems(summary.Problems)
	return summary, nil
}

// heldBack are the problems of a plan that are the proxies': what they do not support, or refuse.
func heldBack(ctx context.Context, server *serverFlags, paths []string, files []source.File) ([]definition.Problem, error) {
	answer, err := askPlan(ctx, server, paths, files)
	if err != nil {
		return nil, err
	}
	var out []definition.Problem
	for _, p := range readable(answer).GetProblems() {
		switch p.GetProblem().GetCode() {
		case definition.CodeUnsupported, definition.CodeRefused, definition.CodeLacking:
			out = append(out, problemOf(p.GetProblem()))
		}
	}
	return out, nil
}

// readDefinitions reads what -f names. A file that cannot be read stands in the result with its error; that there is no
// file at all is an error, since it is hardly what was meant.
func readDefinitions(paths []string, stdin io.Reader) ([]source.File, error) {
	if len(paths) == 0 {
		return nil, usagef("want -f: a file, a folder, or - for standard input")
	}
	files, _ := source.Read(paths, stdin) // the error joins those of the files
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: got no files, want some that end in .yaml, .yml or .json", strings.Join(paths, ", "))
	}
	return files, nil
}
