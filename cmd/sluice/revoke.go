package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func newRevokeCommand() *cobra.Command {
	var server serverFlags
	var output string
	var list bool
	cmd := &cobra.Command{
		Use:   "revoke FLEET/ID",
		Short: "Lock a proxy out: its certificates count no more, at once",
		Long: `revoke makes all certificates that a proxy has worthless, for the case that its machine
or its key is in other hands. Its connections to the control plane end before the command
does, it gets no configuration and no other certificate, and join tokens that were made
for its id are revoked too. That outlives a restart of the control plane.

What it has got before, it has: it serves on, and knows the private keys of its fleet's
certificates and the names of its services. So replace these keys, and stop the machine.
Join tokens of its fleet that are for any id let nobody have this one, but another: see
'sluice token list'.

A token for its id ('sluice token create --fleet FLEET --id ID') brings it back, by a new
certificate; those of before stay worthless. --list shows who was revoked.`,
		Example: example("sluice revoke edge/edge-1", "sluice revoke --list"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list != (len(args) == 0) {
				return usagef("want FLEET/ID, or --list")
			}
			if list {
				return ask(cmd, &server, func(ctx context.Context, client adminv1.IdentityServiceClient) error {
					response, err := client.ListRevoked(ctx, &adminv1.ListRevokedRequest{})
					if err != nil {
						return err
					}
					if output != "" {
						return writeMessage(cmd.OutOrStdout(), output, response)
					}
					return writeRevoked(cmd.OutOrStdout(), readable(response).GetProxies())
				})
			}
			fleet, id, ok := strings.Cut(args[0], "/")
			if !ok {
				return usagef("got %q, want FLEET/ID, as in 'sluice status'", args[0])
			}
			return ask(cmd, &server, func(ctx context.Context, client adminv1.IdentityServiceClient) error {
				response, err := client.RevokeProxy(ctx, &adminv1.RevokeProxyRequest{Fleet: fleet, Id: id})
				if err != nil {
					return err
				}
				if output != "" {
					return writeMessage(cmd.OutOrStdout(), output, response)
				}
				text := fmt.Sprintf("proxy %s of fleet %s was revoked: %d connections ended, %d join tokens revoked\n", id, fleet, response.GetEnded(), response.GetTokens())
				if !response.GetKnown() {
					text += "It had no certificate of this control plane that is good: is the name right?\n"
				}
				return say(cmd, "%s", text)
			})
		},
	}
	server.add(cmd)
	cmd.Flags().BoolVar(&list, "list", false, "show which proxies were revoked")
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func writeRevoked(w io.Writer, proxies []*adminv1.RevokedProxy) error {
	if len(proxies) == 0 {
		_, err := fmt.Fprintln(w, "no proxy was revoked")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "FLEET\tID\tREVOKED\tJOINED AGAIN")
	for _, p := range proxies {
		again := "no"
		if p.GetJoinedAgain() {
			again = "yes"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", p.GetFleet(), p.GetId(), p.GetRevoked(), again)
	}
	return table.Flush()
}
