package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/srv"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
)

func newXDSCommand() *cobra.Command {
	var paths []string
	var fleet, kind, format string
	cmd := &cobra.Command{
		Use:   "xds",
		Short: "Print the xDS resources that a fleet's proxies would get",
		Long: `xds prints the Envoy v3 resources that definitions become, as YAML documents in the
order in which they are pushed. Keys of certificates read "[redacted]". With -o json they
are one list, with -o wide their types and names alone.`,
		Example: example(
			"sluice xds -f examples/quickstart",
			"sluice xds -f conf --fleet edge -t RDS",
			"sluice xds -f conf -o wide"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			types := resource.PushOrder
			if kind != "" {
				t, ok := resource.ByShort(strings.ToUpper(kind))
				if !ok {
					return usagef("-t: got %q, want one of %s", kind, shortNames())
				}
				types = []resource.Type{t}
			}
			built, err := build(cmd, paths)
			if err != nil {
				return err
			}
			bad := reportErrors(cmd, built)
			f, err := fleetOf(built.Compiled.Fleets, fleet)
			if err != nil {
				return err
			}
			if len(f.Certificates) > 0 {
				with := *f
				with.TicketKeys = store.NewTicketKeys() // the control plane's are its own; these show that there are some
				f = &with
			}
			f = withoutServers(cmd, f)
			resources, err := translate.Fleet(f)
			if err != nil {
				return err
			}
			if err := writeResources(cmd.OutOrStdout(), format, types, resources); err != nil {
				return err
			}
			return bad
		},
	}
	filesFlag(cmd, &paths)
	outputFlag(cmd, &format, "yaml", "json", "wide")
	cmd.Flags().Lookup("output").Usage = "`format`: yaml, json, wide (default yaml)"
	cmd.Flags().StringVar(&fleet, "fleet", "default", "the `fleet`")
	cmd.Flags().StringVarP(&kind, "type", "t", "", "only this `type`: "+shortNames())
	return cmd
}

// withoutServers leaves out what only the running control plane knows, and says so.
func withoutServers(cmd *cobra.Command, f *ir.Fleet) *ir.Fleet {
	return srv.Expand(f, func(_ *ir.DNS, name string) []srv.Server {
		fmt.Fprintf(cmd.ErrOrStderr(), "srv:%s: its servers are left out: the control plane looks them up\n", name)
		return nil
	})
}

func shortNames() string {
	var names []string
	for _, t := range resource.PushOrder {
		names = append(names, t.Short)
	}
	return strings.Join(names, ", ")
}

func fleetOf(fleets []*ir.Fleet, name string) (*ir.Fleet, error) {
	var names []string
	for _, f := range fleets {
		if f.Name == name {
			return f, nil
		}
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("fleet %q: no Gateway names a fleet", name)
	}
	return nil, fmt.Errorf("fleet: got %q, want one of %s", name, strings.Join(names, ", "))
}

func writeResources(w io.Writer, format string, types []resource.Type, resources translate.Resources) error {
	list := []json.RawMessage{}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if format == "wide" {
		fmt.Fprintln(table, "TYPE\tNAME")
	}
	for _, t := range types {
		for _, name := range slices.Sorted(maps.Keys(resources[t.URL])) {
			render := translate.YAML
			if format == "json" {
				render = translate.JSON
			}
			text, err := render(t.URL, resources[t.URL][name])
			if err != nil {
				return err
			}
			switch format {
			case "json":
				list = append(list, text)
			case "wide":
				fmt.Fprintf(table, "%s\t%s\n", t.Short, name)
			default:
				if _, err := fmt.Fprintf(w, "---\n# %s %s\n%s", t.Short, name, text); err != nil {
					return err
				}
			}
		}
	}
	if format == "json" {
		text, err := json.Marshal(list)
		if err != nil {
			return err
		}
		return writeJSON(w, format, text)
	}
	return table.Flush()
}
