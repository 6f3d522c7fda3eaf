package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
)

func newXDSCommand() *cobra.Command {
	var paths []string
	var fleet, kind string
	cmd := &cobra.Command{
		Use:   "xds",
		Short: "Print the xDS resources that a fleet's proxies would get",
		Long: `xds prints the Envoy v3 resources that definitions become, as YAML documents in the
order in which they are pushed. Keys of certificates read "[redacted]".`,
		Example: example(
			"sluice xds -f examples/quickstart",
			"sluice xds -f conf --fleet edge -t RDS"),
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
			resources, err := translate.Fleet(f)
			if err != nil {
				return err
			}
			if err := writeResources(cmd, types, resources); err != nil {
				return err
			}
			return bad
		},
	}
	filesFlag(cmd, &paths)
	cmd.Flags().StringVar(&fleet, "fleet", "default", "the `fleet`")
	cmd.Flags().StringVarP(&kind, "type", "t", "", "only this `type`: "+shortNames())
	return cmd
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

func writeResources(cmd *cobra.Command, types []resource.Type, resources translate.Resources) error {
	for _, t := range types {
		var names []string
		for name := range resources[t.URL] {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			text, err := translate.YAML(t.URL, resources[t.URL][name])
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "---\n# %s %s\n%s", t.Short, name, text); err != nil {
				return err
			}
		}
	}
	return nil
}
