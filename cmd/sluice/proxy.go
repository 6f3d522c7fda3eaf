package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/dataplane/command"
)

// exitCode ends a command that has said all there is to say.
type exitCode int

// Error is for who asks.
func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func newProxyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proxy -c FILE",
		Short: "Run a Go proxy from a bootstrap file",
		Long: `proxy runs a Go proxy from the file that 'sluice bootstrap' writes, or from another
of Envoy's bootstrap files. It is what the program sluice-proxy does, which is
smaller, and takes the same flags:

` + command.Usage(),
		Example: example(
			"sluice bootstrap --id edge-1 --fleet edge > edge-1.yaml",
			"sluice proxy -c edge-1.yaml",
			"sluice proxy -c edge-1.yaml --mode validate"),
		// The flags are those of Envoy, and are read where they are defined.
		DisableFlagParsing: true,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, a := range args {
			if a == "-h" || a == "--help" {
				return cmd.Help()
			}
		}
		if code := command.Main(cmd.Context(), cmd.CommandPath(), args, cmd.OutOrStdout(), cmd.ErrOrStderr()); code != 0 {
			return exitCode(code)
		}
		return nil
	}
	return cmd
}
