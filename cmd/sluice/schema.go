package main

import (
	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/controlplane/definition/schema"
)

func newSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the language as a JSON Schema, for completion in editors",
		Long: `Prints a JSON Schema (draft 2020-12) of one document. Editors with a YAML language
server complete and check by it; sluice validate knows more and has the last word.`,
		Example: example("sluice schema > sluice.schema.json",
			"# then, as a file's first line:",
			"# yaml-language-server: $schema=sluice.schema.json"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := schema.Generate()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}
