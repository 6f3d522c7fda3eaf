package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

func newExpandCommand() *cobra.Command {
	var paths []string
	cmd := &cobra.Command{
		Use:   "expand -f PATH...",
		Short: "Print what definitions mean: short forms written out, every default filled in",
		Long: `Prints definitions with short forms written out and every default filled in, and the
built-in Gateway and Certificate where they serve. What it prints means the same.

Problems go to standard error; the documents that are right are printed all the same.
References between documents are not looked at: see sluice validate.`,
		Example: example("sluice expand -f conf/", "sluice expand -f conf/shop.yaml"),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			files, err := readDefinitions(paths, cmd.InOrStdin())
			if err != nil {
				return err
			}
			var parsed store.Files
			set := parsed.Set(files)
			text, err := definition.ExpandAll(set.Documents)
			if err != nil {
				return err
			}
			if _, err := cmd.OutOrStdout().Write(text); err != nil {
				return err
			}
			for _, p := range set.Problems {
				fmt.Fprintln(cmd.ErrOrStderr(), p.Error())
			}
			if len(set.Problems) > 0 {
				return errReported
			}
			return nil
		},
	}
	filesFlag(cmd, &paths)
	return cmd
}
