package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	grpcstatus "google.golang.org/grpc/status"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

// callTimeout is for a call that a running control plane answers at once.
const callTimeout = 10 * time.Second

func newStatusCommand() *cobra.Command {
	var server serverFlags
	var fleet, output string
	var watch bool
	cmd := &cobra.Command{
		Use:   "status [PROXY]",
		Short: "Show which proxy runs what, and which documents are in trouble",
		Long: `status lists the proxies that are connected, or were seen, with a column per
resource type:

  SYNCED    it has accepted the newest
  STALE     the newest was sent, and it has not answered yet
  NOT_SENT  it has not asked for any
  ERROR     it has refused the newest; its own words follow the table

and then the documents in trouble, with what is served in their place.

With the id of a proxy it lists the resources of that proxy that are not SYNCED, with
the versions that are wanted, sent and accepted, since when, and the file and line that
they come from; -o wide lists all of them.`,
		Example: example(
			"sluice status",
			"sluice status --fleet edge -o wide     # with versions",
			"sluice status edge-1                   # what this one has, resource by resource",
			"sluice status --watch                  # and every change from now on",
			"SLUICE_SERVER=10.0.0.1:18000 sluice status -o json"),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, conn, err := server.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			request := &adminv1.StatusRequest{Fleet: fleet}
			if len(args) > 0 {
				request.Proxy = args[0]
			}
			if output != "" { // text shows what is not in order
				request.Resources = adminv1.StatusRequest_ALL
			}
			write := func(response *adminv1.StatusResponse) error {
				switch {
				case output == "json" || output == "yaml":
					return writeMessage(cmd.OutOrStdout(), output, response)
				case request.GetProxy() != "":
					return writeProxy(cmd.OutOrStdout(), readable(response), output == "wide", time.Now())
				}
				return writeStatus(cmd.OutOrStdout(), readable(response), fleet, output == "wide", time.Now())
			}
			if watch {
				err = watchStatus(cmd.Context(), client, request, write, output, cmd.OutOrStdout())
			} else {
				err = oneStatus(cmd.Context(), client, request, write)
			}
			if _, ok := grpcstatus.FromError(err); ok && err != nil {
				return server.serverError(err)
			}
			return err
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&fleet, "fleet", "", "only this `fleet` (default all)")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on, with every change, until interrupted")
	outputFlag(cmd, &output, "wide", "json", "yaml")
	return cmd
}

func oneStatus(ctx context.Context, client adminv1.AdminServiceClient, request *adminv1.StatusRequest, write func(*adminv1.StatusResponse) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := client.Status(ctx, request)
	if err != nil {
		return err
	}
	return write(response)
}

// describeProblem is file:line:col: kind/name: field: message, and what is served in its place.
func describeProblem(p *adminv1.Problem) string {
	var parts []string
	place := p.GetFile()
	if p.GetLine() > 0 {
		place = fmt.Sprintf("%s:%d:%d", place, p.GetLine(), p.GetColumn())
	}
	for _, part := range []string{place, p.GetSeverity() + " " + p.GetCode(), p.GetDocument(), p.GetField(), p.GetMessage()} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	text := strings.Join(parts, ": ")
	if p.GetServing() != "" {
		text += " (served in its place: " + p.GetServing() + ")"
	}
	return text
}

// age is how long ago a time was, in its largest unit or two.
func age(stamp string, now time.Time) string {
	t, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return stamp
	}
	d := now.Sub(t)
	switch {
	case d < time.Minute:
		return max(d, 0).Truncate(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
