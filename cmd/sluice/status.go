package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// callTimeout is for a call that a running control plane answers at once.
const callTimeout = 10 * time.Second

func newStatusCommand() *cobra.Command {
	var server serverFlags
	var fleet, output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show which proxy runs what, and which documents are in trouble",
		Long: `status lists the proxies that are connected, or were seen, with a column per
resource type:

  SYNCED    it has accepted the newest
  STALE     the newest was sent, and it has not answered yet
  NOT_SENT  it has not asked for any
  ERROR     it has refused the newest; its own words follow the table

and then the documents in trouble, with what is served in their place.`,
		Example: example(
			"sluice status",
			"sluice status --fleet edge -o wide     # with versions",
			"SLUICE_SERVER=10.0.0.1:18000 sluice status -o json"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, conn, err := server.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), callTimeout)
			defer cancel()
			response, err := client.Status(ctx, &adminv1.StatusRequest{Fleet: fleet})
			if err != nil {
				return server.serverError(err)
			}
			if output == "json" || output == "yaml" {
				return writeMessage(cmd.OutOrStdout(), output, response)
			}
			return writeStatus(cmd.OutOrStdout(), response, output == "wide", time.Now())
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&fleet, "fleet", "", "only this `fleet` (default all)")
	outputFlag(cmd, &output, "wide", "json", "yaml")
	return cmd
}

func writeStatus(w io.Writer, response *adminv1.StatusResponse, wide bool, now time.Time) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprint(table, "FLEET\tPROXY\tAGENT\tCONNECTED")
	for _, t := range resource.PushOrder {
		fmt.Fprintf(table, "\t%s", t.Short)
	}
	fmt.Fprintln(table)
	var refusals []string
	for _, p := range response.GetProxies() {
		connected := "no, since " + age(p.GetSince(), now)
		if p.GetConnected() {
			connected = age(p.GetSince(), now)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s", p.GetFleet(), p.GetId(), p.GetAgent(), connected)
		types := map[string]*adminv1.TypeStatus{}
		for _, t := range p.GetTypes() {
			types[t.GetType()] = t
		}
		for _, t := range resource.PushOrder {
			s := types[t.Short]
			if s == nil {
				s = &adminv1.TypeStatus{State: adminv1.TypeStatus_NOT_SENT}
			}
			fmt.Fprintf(table, "\t%s", s.GetState())
			if wide && s.GetAccepted() != "" {
				fmt.Fprintf(table, " %s", s.GetAccepted())
				if s.GetSent() != s.GetAccepted() {
					fmt.Fprintf(table, "→%s", s.GetSent())
				}
			}
			if s.GetState() == adminv1.TypeStatus_ERROR {
				refusals = append(refusals, fmt.Sprintf("%s/%s refuses %s since %s: %s", p.GetFleet(), p.GetId(), t.Short, age(s.GetSince(), now), s.GetError()))
			}
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(response.GetProxies()) == 0 {
		b.WriteString("(no proxy has connected yet: start one with the file that 'sluice bootstrap' writes)\n")
	}
	section(&b, refusals)
	var problems []string
	for _, p := range response.GetProblems() {
		problems = append(problems, describeProblem(p))
	}
	section(&b, problems)
	_, err := io.WriteString(w, b.String())
	return err
}

func section(b *strings.Builder, lines []string) {
	if len(lines) > 0 {
		b.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	}
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
