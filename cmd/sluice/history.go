package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func newHistoryCommand() *cobra.Command {
	var server serverFlags
	var output string
	cmd := &cobra.Command{
		Use:   "history [REVISION]",
		Short: "Show what was served before: when, what changed, and from where",
		Long: `history lists the last 20 revisions of the documents that a control plane has served,
the newest first; with a number, it shows the differences of that one. Each change of
files that makes another set of documents is a revision; so is an undo.

  files  documents changed in the files
  start  they had changed while the control plane was away, or it is the first
  undo   'sluice undo' brought an earlier revision back
  lift   'sluice undo --lift' had the files served again

Certificates' files, addresses of names and the control plane's own state are no part
of it. With --state the revisions outlive a restart.`,
		Example: example("sluice history", "sluice history 12", "sluice history -o json"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &adminv1.HistoryRequest{}
			if len(args) == 1 {
				n, err := revisionOf(args[0])
				if err != nil {
					return err
				}
				request.Revision = n
			}
			answer, err := askDocuments(cmd.Context(), &server, callTimeout, adminv1.DefinitionServiceClient.History, request)
			if err != nil {
				return err
			}
			switch {
			case output != "":
				return writeMessage(cmd.OutOrStdout(), output, answer)
			case request.Revision != 0:
				return writeRevision(cmd.OutOrStdout(), readable(answer).GetRevisions()[0])
			}
			return writeHistory(cmd.OutOrStdout(), readable(answer), time.Now())
		},
	}
	server.add(cmd)
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func revisionOf(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, usagef("got the revision %q, want a number from 1", text)
	}
	return n, nil
}

func writeHistory(w io.Writer, answer *adminv1.HistoryResponse, now time.Time) error {
	if len(answer.GetRevisions()) == 0 {
		_, err := fmt.Fprintln(w, "(nothing has been served yet)")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "REVISION\tTIME\tAGE\tFROM\tWHAT")
	for _, r := range answer.GetRevisions() {
		fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\n", r.GetNumber(), r.GetTime(), age(r.GetTime(), now), causeText(r), changesText(r.GetChanges(), int(r.GetMore())))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return writeHeldBack(w, answer.GetHeldBack())
}

func causeText(r *adminv1.Revision) string {
	switch {
	case r.GetLike() > 0:
		return fmt.Sprintf("%s to %d, by %s", r.GetCause(), r.GetLike(), r.GetBy())
	case r.GetBy() != "":
		return r.GetCause() + ", by " + r.GetBy()
	}
	return r.GetCause()
}

func changesText(changes []*adminv1.DocumentChange, beyond int) string {
	const most = 3
	var list []string
	for _, c := range changes[:min(most, len(changes))] {
		list = append(list, fmt.Sprintf("%s%s (%s:%d)", marks[c.GetChange()], c.GetDocument(), c.GetFile(), c.GetLine()))
	}
	if more := max(0, len(changes)-most) + beyond; more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	return strings.Join(list, ", ")
}

// writeHeldBack says what an undo holds back now.
func writeHeldBack(w io.Writer, held []*adminv1.HeldBack) error {
	if len(held) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("\nHeld back by an undo, until they change in the files, or 'sluice undo --lift':\n")
	for _, h := range held {
		what := fmt.Sprintf("the version of revision %d is served", h.GetRevision())
		if h.GetRemoved() {
			what = fmt.Sprintf("as in revision %d it is not served", h.GetRevision())
		}
		fmt.Fprintf(&b, "  %s: %s, since %s\n", h.GetDocument(), what, h.GetSince())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRevision(w io.Writer, r *adminv1.Revision) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Revision %d, %s, from %s\n", r.GetNumber(), r.GetTime(), causeText(r))
	for _, c := range r.GetChanges() {
		fmt.Fprintf(&b, "\n%s %s  (%s:%d)\n", marks[c.GetChange()], c.GetDocument(), c.GetFile(), c.GetLine())
		if c.GetDiff() != "" {
			for line := range strings.SplitSeq(c.GetDiff(), "\n") {
				b.WriteString("    " + line + "\n")
			}
		}
	}
	if r.GetMore() > 0 {
		fmt.Fprintf(&b, "\nand %d more\n", r.GetMore())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
