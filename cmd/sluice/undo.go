package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

func newUndoCommand() *cobra.Command {
	var server serverFlags
	var output, to string
	var lift, dry bool
	cmd := &cobra.Command{
		Use:   "undo",
		Short: "Serve an earlier revision again, until the files change",
		Long: `undo has the documents of the revision before served again, or of --to N (see 'sluice
history'), and prints what changed by it. Undone twice, it goes back twice.

The files are yours, and are not written. So each document that the undo changes is
held back: what stands of it in the files now is not served, until it changes there.
All other documents follow the files as ever. 'sluice status' and 'sluice history' tell
what is held back, and so does the log; it outlives a restart with --state. So after an
undo, put the files right: then nothing is held back any more. Or have them served as
they stand with --lift.

Certificates' files, and what name servers answer, stay as they are.`,
		Example: example(
			"sluice undo --dry-run     # what would change",
			"sluice undo",
			"sluice undo --to 12",
			"sluice undo --lift        # serve the files as they stand"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request := &adminv1.UndoRequest{Lift: lift, DryRun: dry}
			if to != "" {
				n, err := revisionOf(to)
				if err != nil {
					return err
				}
				if lift {
					return usagef("want one of --to and --lift")
				}
				request.To = n
			}
			answer, err := askDocuments(cmd.Context(), &server, planTimeout, adminv1.DefinitionServiceClient.Undo, request)
			if err != nil {
				return err
			}
			if output != "" {
				return writeMessage(cmd.OutOrStdout(), output, answer)
			}
			return writeUndo(cmd.OutOrStdout(), readable(answer), dry)
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the `revision` to bring back (default: the one before what is served)")
	cmd.Flags().BoolVar(&lift, "lift", false, "serve the files as they stand again")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would change, and change nothing")
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func writeUndo(w io.Writer, answer *adminv1.UndoResponse, dry bool) error {
	if err := writePlan(w, answer.GetPlan(), false, false); err != nil {
		return err
	}
	text := fmt.Sprintf("Revision %d is served again, as revision %d. The files are as they were: put them right, or 'sluice undo --lift'.\n",
		answer.GetTo(), answer.GetRevision().GetNumber())
	switch {
	case dry && answer.GetTo() == 0:
		text = "So it would be without the undo. Nothing was changed.\n"
	case dry:
		text = fmt.Sprintf("So it would be with revision %d. Nothing was changed.\n", answer.GetTo())
	case answer.GetRevision() == nil:
		text = "Nothing else is served by it: see 'sluice status' for what is held back, and why.\n"
	case answer.GetTo() == 0:
		text = fmt.Sprintf("The files are served as they stand, as revision %d.\n", answer.GetRevision().GetNumber())
	}
	_, err := io.WriteString(w, "\n"+text)
	return err
}
