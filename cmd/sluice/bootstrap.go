package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

// defaultMaxConnections is what Envoy's guide for proxies that strangers reach takes, too. In our proxy, idle, it is a
// quarter of a gigabyte; in Envoy three times as much.
const defaultMaxConnections = 50_000

func newBootstrapCommand() *cobra.Command {
	var server serverFlags
	var opts bootstrap.Options
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Write the file that a proxy starts from: one file, for both kinds",
		Long: `bootstrap writes to standard output the file that a proxy starts from: where the
control plane is, and which fleet and id the proxy has. It is Envoy's bootstrap file,
good for 'envoy -c' and for 'sluice-proxy -c'. It is written once: all else comes
over xDS.

With --ca the connection is TLS, with --cert and --key mutual TLS. The proxy reads
these files when it runs: give the names that they have there. The certificate must
name the proxy, by the URI spiffe://ANY/fleet/FLEET/proxy/ID or the DNS name ID.FLEET.

--max-connections and --max-heap become Envoy's overload manager, which both kinds of
proxy keep. At 95 % of --max-heap new requests are answered 503, at 98 % new
connections are closed.`,
		Example: example(
			"sluice bootstrap --server 127.0.0.1:18000 --fleet edge --id edge-1 > edge-1.yaml",
			"sluice bootstrap --server cp.example.com:18000 --fleet edge --id edge-2 --admin 127.0.0.1:9901 \\",
			"  --ca ca.crt --cert edge-2.crt --key edge-2.key > edge-2.yaml",
			"envoy -c edge-1.yaml       # or",
			"sluice-proxy -c edge-1.yaml"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.ID == "" {
				return usagef("want --id: a name for this proxy, of which there is one in its fleet")
			}
			opts.Server = cmp.Or(server.named(), defaultServer)
			opts.CA, opts.Certificate, opts.Key = server.ca, server.cert, server.key
			text, err := bootstrap.Write(opts)
			if err != nil {
				return usageError{err}
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&opts.Fleet, "fleet", "default", "the `fleet` that the proxy belongs to (xDS node.cluster)")
	cmd.Flags().StringVar(&opts.ID, "id", "", "the proxy's `id` in its fleet (xDS node.id)")
	cmd.Flags().StringVar(&opts.Admin, "admin", "", "`address` of the proxy's admin server (default none)")
	cmd.Flags().Uint64Var(&opts.MaxConnections, "max-connections", defaultMaxConnections, "how many connections of clients the proxy takes in all; 0 for no bound")
	cmd.Flags().Uint64Var(&opts.MaxHeap, "max-heap", 0, "how many `bytes` of memory the proxy may use before it refuses new work (default no bound)")
	cmd.Flags().BoolVar(&opts.StateOfTheWorld, "sotw", false, "state-of-the-world xDS in place of delta")
	return cmd
}
