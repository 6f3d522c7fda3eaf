package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func newWaitCommand() *cobra.Command {
	var server serverFlags
	var fleet string
	var timeout time.Duration
	var atLeast uint32
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until all proxies of a fleet have accepted the newest configuration",
		Long: `wait ends with 0 when every connected proxy of the fleet has accepted the newest
configuration, and there are at least as many as asked for. It ends with 1 when the
time is over, and names who has not, and why. A control plane that is not there yet
is waited for, too.`,
		Example: example(
			"sluice wait --fleet edge --timeout 30s",
			"sluice wait --fleet edge --at-least 3 --timeout 2m && ./smoke-test.sh"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usagef("--timeout: got %v, want more than 0", timeout)
			}
			client, conn, err := server.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			response, err := client.Wait(ctx, &adminv1.WaitRequest{Fleet: fleet, AtLeast: atLeast}, grpc.WaitForReady(true))
			if err != nil {
				return fmt.Errorf("not within %v: %w", timeout, server.serverError(err))
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "fleet %s: %d of %d proxies have the newest configuration\n",
				fleet, len(response.GetProxies()), len(response.GetProxies()))
			return err
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&fleet, "fleet", "default", "the `fleet`")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait")
	cmd.Flags().Uint32Var(&atLeast, "at-least", 1, "how many proxies must be connected at least")
	return cmd
}
