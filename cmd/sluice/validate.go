package main

import (
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
	cmd := &cobra.Command{
		Use:   "validate -f PATH...",
		Short: "Check definitions, and run their Tests",
		Long: `Checks definitions as the control plane would, and runs documents of kind Test with
the proxies' own matcher. Each problem is a line with its place and a stable code.

Exit codes: 0 no error (there may be warnings); 1 errors; 2 wrong usage.`,
		Example: example("sluice validate -f conf/", "generate | sluice validate -f -", "sluice validate -f conf/ -o github"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !report.KnownFormat(format) {
				return usagef("-o: got %q, want one of %s", format, strings.Join(report.Formats, ", "))
			}
			summary, err := validate(paths, cmd.InOrStdin())
			if err != nil {
				return err
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
	cmd.Flags().StringVarP(&format, "output", "o", "text", "format: "+strings.Join(report.Formats, ", "))
	return cmd
}

// validate runs the first half of the control plane over the files, from nothing: no version of a document was accepted
// before, so that none stands in for one that is bad.
func validate(paths []string, stdin io.Reader) (*report.Summary, error) {
	files, err := readDefinitions(paths, stdin)
	if err != nil {
		return nil, err
	}
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
