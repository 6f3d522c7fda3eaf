package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// filesFlag is -f, which repeats.
func filesFlag(cmd *cobra.Command, paths *[]string) {
	cmd.Flags().StringArrayVarP(paths, "file", "f", nil, "`path` of a file or a folder, or - for standard input; may be given several times")
}

// checkPaths is for a start without anything kept from before: what is not there is a slip of the pen then.
func checkPaths(paths []string) error {
	for _, p := range paths {
		if p == "-" {
			continue
		}
		if _, err := os.Stat(p); err != nil {
			return fmt.Errorf("-f %s: got %w, want a file or a folder", p, errors.Unwrap(err))
		}
	}
	return nil
}

// build reads and compiles definitions as a control plane that starts with nothing would: what is bad is left out, and
// stands in the result's problems.
func build(cmd *cobra.Command, paths []string) (*store.Result, error) {
	files, err := readDefinitions(paths, cmd.InOrStdin())
	if err != nil {
		return nil, err
	}
	s, err := store.Open(store.Options{})
	if err != nil {
		return nil, err
	}
	var parse store.Files
	return s.Update(parse.Set(files)), s.Close()
}

// reportErrors prints a build's errors to standard error, so that an answer that leaves something out says so; the
// command then ends with 1 (errReported) when it has answered.
func reportErrors(cmd *cobra.Command, result *store.Result) error {
	var err error
	for _, p := range result.Problems {
		if p.Severity == definition.SeverityError {
			fmt.Fprintln(cmd.ErrOrStderr(), p.Error())
			err = errReported
		}
	}
	return err
}

var errOneOf = errors.New("want one of -f and --server")
