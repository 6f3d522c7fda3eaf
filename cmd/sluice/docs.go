package main

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/controlplane/definition/docs"
)

func newDocsCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "docs [KIND[.FIELD]...]",
		Short:   "Explain a kind or a field of the language",
		Example: example("sluice docs", "sluice docs Route", "sluice docs Route.rules.timeout"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var page any = docs.Kinds()
			write := docs.WriteKinds
			if len(args) == 1 {
				found, err := docs.Lookup(args[0])
				if err != nil {
					return err
				}
				page, write = found, found.Write
			}
			if format == "" {
				return write(cmd.OutOrStdout())
			}
			text, err := json.Marshal(page)
			if err != nil {
				return err
			}
			return writeJSON(cmd.OutOrStdout(), format, text)
		},
		ValidArgsFunction: func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return docs.Complete(typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		},
	}
	outputFlag(cmd, &format, "json", "yaml")
	return cmd
}
