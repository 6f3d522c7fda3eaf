package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

func newGetCommand() *cobra.Command {
	var server serverFlags
	var output string
	cmd := &cobra.Command{
		Use:   "get [KIND]",
		Short: "List the documents that a control plane serves",
		Long: `get lists documents of one kind, or of all: what becomes of each, in which fleets, and
where it stands.

  served             as it is written
  served in part     a part of it has a fault
  earlier version    an undo has it served in place of what stands in the file
  last good version  what stands in the file cannot be served; this is, in its place
  not served         there is no version that can be

'sluice describe' tells more of one, 'sluice status' what is wrong.`,
		Example: example("sluice get", "sluice get routes", "sluice get service -o json"),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &adminv1.ListRequest{}
			if len(args) == 1 {
				kind, ok := kindOf(args[0])
				if word, _, one := strings.Cut(args[0], "/"); one && !ok {
					if _, ok = kindOf(word); ok {
						return usagef("got %q, want a kind; of one document 'sluice describe %s' tells", args[0], args[0])
					}
				}
				if !ok {
					return usagef("got the kind %q, want one of %s", args[0], strings.Join(kinds(), ", "))
				}
				request.Kind = kind
			}
			answer, err := askDocuments(cmd.Context(), &server, callTimeout, adminv1.DefinitionServiceClient.List, request)
			if err != nil {
				return err
			}
			if output != "" {
				return writeMessage(cmd.OutOrStdout(), output, answer)
			}
			return writeList(cmd.OutOrStdout(), readable(answer))
		},
	}
	server.add(cmd)
	outputFlag(cmd, &output, "json", "yaml")
	return cmd
}

// kinds are those that are served.
func kinds() (list []string) {
	for _, kind := range definition.Kinds {
		if kind.Name != "Test" { // validate runs them
			list = append(list, kind.Name)
		}
	}
	return list
}

// kindOf takes a kind in any case, and in the plural.
func kindOf(word string) (string, bool) {
	word = strings.ToLower(word)
	list := kinds()
	at := slices.IndexFunc(list, func(kind string) bool {
		kind = strings.ToLower(kind)
		return word == kind || word == kind+"s"
	})
	if at < 0 {
		return "", false
	}
	return list[at], true
}

func writeList(w io.Writer, answer *adminv1.ListResponse) error {
	if len(answer.GetDocuments()) == 0 {
		_, err := fmt.Fprintln(w, "(there is none)")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "DOCUMENT\tSTATE\tFLEETS\tPROBLEMS\tAT")
	for _, d := range answer.GetDocuments() {
		fleets := strings.Join(d.GetFleets(), ",")
		if fleets == "" {
			fleets = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s:%d\n", d.GetDocument(), d.GetState(), fleets, d.GetProblems(), d.GetFile(), d.GetLine())
	}
	return table.Flush()
}
