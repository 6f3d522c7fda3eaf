package main

import (
	"encoding/json"
	"io"

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
			if format != "text" && format != "json" {
				return usagef("-o: got %q, want one of text, json", format)
			}
			out := cmd.OutOrStdout()
			switch {
			case len(args) == 0 && format == "json":
				return writeJSON(out, docs.Kinds())
			case len(args) == 0:
				return docs.WriteKinds(out)
			}
			page, err := docs.Lookup(args[0])
			switch {
			case err != nil:
				return err
			case format == "json":
				return writeJSON(out, page)
			}
			return page.Write(out)
		},
		ValidArgsFunction: func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
			return docs.Complete(typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "format: text, json")
	return cmd
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
