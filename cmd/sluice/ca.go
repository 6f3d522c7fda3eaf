package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func newCACommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Show the control plane's authority, and replace its key",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	show := newAuthorityCommand(&cobra.Command{
		Use:   "show",
		Short: "Show the authority's roots, and when they change",
		Args:  cobra.NoArgs,
	}, func(ctx context.Context, client adminv1.IdentityServiceClient) (*adminv1.AuthorityState, error) {
		response, err := client.GetAuthority(ctx, &adminv1.GetAuthorityRequest{})
		return response.GetAuthority(), err
	})
	rotate := newAuthorityCommand(&cobra.Command{
		Use:   "rotate",
		Short: "Begin to replace the authority's key; no proxy notices",
		Long: `rotate makes a new key and a new root, and returns at once. The rest comes by itself:

  now      the new root is trusted beside the old one, and proxies are told of it as they
           renew their certificates; the old key signs
  switch   when every certificate and join token of now has expired, the new key signs
  drop     when every certificate of the old key has expired, its root is trusted no more

With certificates of a day that is two days in all. A proxy that renews its certificate in
time is never cut off. Copies of identity/ca.crt that people and tools use (SLUICE_CA)
are to be replaced between now and the switch. If the key was stolen, that is too long:
see docs/security.md.`,
		Args: cobra.NoArgs,
	}, func(ctx context.Context, client adminv1.IdentityServiceClient) (*adminv1.AuthorityState, error) {
		response, err := client.RotateAuthority(ctx, &adminv1.RotateAuthorityRequest{})
		return response.GetAuthority(), err
	})
	cmd.AddCommand(show, rotate)
	return cmd
}

func newAuthorityCommand(cmd *cobra.Command, call func(context.Context, adminv1.IdentityServiceClient) (*adminv1.AuthorityState, error)) *cobra.Command {
	var server serverFlags
	var output string
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return ask(cmd, &server, func(ctx context.Context, client adminv1.IdentityServiceClient) error {
			state, err := call(ctx, client)
			if err != nil {
				return err
			}
			if output != "" {
				return writeMessage(cmd.OutOrStdout(), output, state)
			}
			return writeAuthority(cmd.OutOrStdout(), readable(state))
		})
	}
	server.add(cmd)
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func writeAuthority(w io.Writer, s *adminv1.AuthorityState) error {
	var b strings.Builder
	fmt.Fprintf(&b, "signs      %s, until %s\n", s.GetFingerprint(), s.GetExpires())
	for _, f := range s.GetAlsoTrusted() {
		fmt.Fprintf(&b, "trusted    %s\n", f)
	}
	if s.GetSwitch() != "" {
		fmt.Fprintf(&b, "from %s on %s signs\n", s.GetSwitch(), s.GetNextFingerprint())
	}
	if s.GetDrop() != "" {
		fmt.Fprintf(&b, "from %s on the old root is trusted no more\n", s.GetDrop())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
