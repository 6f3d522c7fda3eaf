package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke join tokens, by which proxies get their certificates",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTokenCreateCommand(), newTokenListCommand(), newTokenRevokeCommand())
	return cmd
}

// ask dials, and calls with a time-out.
func ask(cmd *cobra.Command, server *serverFlags, call func(context.Context, adminv1.IdentityServiceClient) error) error {
	_, conn, err := server.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), callTimeout)
	defer cancel()
	err = call(ctx, adminv1.NewIdentityServiceClient(conn))
	switch {
	case err == nil:
		return nil
	case status.Code(err) == codes.Unimplemented:
		return fmt.Errorf("%s gives no certificates: want a control plane with --trust-domain", cmp.Or(server.named(), defaultServer))
	}
	return server.serverError(err)
}

func newTokenCreateCommand() *cobra.Command {
	var server serverFlags
	request := &adminv1.CreateTokenRequest{}
	var ttl time.Duration
	var output string
	cmd := &cobra.Command{
		Use:   "create --fleet FLEET",
		Short: "Make a join token for a fleet",
		Long: `create makes a join token, and prints it alone: a secret, told this once. Whoever has it
can be a proxy of the fleet, and get its secrets, until it is used or expires. With --id
it is good for that one proxy, also if there is one of that name: it takes its place.
Without, whoever joins chooses an id that nobody has.`,
		Example: example(
			"sluice token create --fleet edge --id go-1 > join.token",
			"sluice token create --fleet edge --uses 20 --ttl 15m"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if request.Fleet == "" {
				return usagef("want --fleet: the token is for one")
			}
			request.Ttl = ttl.String()
			if cmd.Flags().Changed("uses") && request.Uses == 0 {
				return usagef("--uses: got 0, want 1 or more")
			}
			return ask(cmd, &server, func(ctx context.Context, client adminv1.IdentityServiceClient) error {
				response, err := client.CreateToken(ctx, request)
				if err != nil {
					return err
				}
				if output != "" {
					return writeMessage(cmd.OutOrStdout(), output, response)
				}
				return say(cmd, "%s\n", response.GetToken())
			})
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&request.Fleet, "fleet", "", "the `fleet` that may be joined")
	cmd.Flags().StringVar(&request.Id, "id", "", "the `id` of the one proxy that may join (default any that nobody has)")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how `long` it is good, at most 168h")
	cmd.Flags().Uint32Var(&request.Uses, "uses", 1, "how `often` it is good")
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func newTokenListCommand() *cobra.Command {
	var server serverFlags
	var fleet, output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the join tokens, without their secrets",
		Long: `list shows the join tokens that are good, and for a day those that were: their names,
what they are for, and who has joined by them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, &server, func(ctx context.Context, client adminv1.IdentityServiceClient) error {
				response, err := client.ListTokens(ctx, &adminv1.ListTokensRequest{Fleet: fleet})
				if err != nil {
					return err
				}
				if output != "" {
					return writeMessage(cmd.OutOrStdout(), output, response)
				}
				return writeTokens(cmd.OutOrStdout(), readable(response).GetTokens())
			})
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&fleet, "fleet", "", "only this `fleet` (default all)")
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func writeTokens(w io.Writer, tokens []*adminv1.JoinToken) error {
	if len(tokens) == 0 {
		_, err := fmt.Fprintln(w, "no join tokens")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tFLEET\tID\tSTATE\tLEFT\tEXPIRES\tJOINED")
	for _, t := range tokens {
		id := t.GetId()
		if id == "" {
			id = "any"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", t.GetName(), t.GetFleet(), id, t.GetState(), t.GetLeft(), t.GetExpires(), strings.Join(t.GetJoined(), ","))
	}
	return table.Flush()
}

func newTokenRevokeCommand() *cobra.Command {
	var server serverFlags
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Make a join token worthless",
		Long: `revoke makes a join token worthless at once. NAME is as 'sluice token list' shows it.
Certificates that were given for it stay good until they expire.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, &server, func(ctx context.Context, client adminv1.IdentityServiceClient) error {
				_, err := client.RevokeToken(ctx, &adminv1.RevokeTokenRequest{Name: args[0]})
				return err
			})
		},
	}
	server.add(cmd)
	return cmd
}
