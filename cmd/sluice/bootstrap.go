package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-proxy/sluice/controlplane/identity/join"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

// defaultMaxConnections is what Envoy's guide for proxies that strangers reach takes, too. In our proxy, idle, it is a
// quarter of a gigabyte; in Envoy three times as much.
const defaultMaxConnections = 50_000

func newBootstrapCommand() *cobra.Command {
	var server serverFlags
	var opts bootstrap.Options
	var own joinFlags
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

With --token (of 'sluice token create') it joins a control plane that is an authority
itself. It makes a key, which never leaves --dir, gets a certificate for it, and
writes bootstrap.yaml and what belongs to it into --dir. The token names the control
plane's authority, so nobody can stand in its place. '-' reads it from standard input,
@FILE from a file. The certificate is good for a day: 'sluice bootstrap --renew --dir
DIR', from a timer each hour, gets another one at half its life, and does nothing
before. A running proxy of either kind takes it up by itself.

--max-connections and --max-heap become Envoy's overload manager, which both kinds of
proxy keep. At 95 % of --max-heap new requests are answered 503, at 98 % new
connections are closed.`,
		Example: example(
			"sluice bootstrap --server 127.0.0.1:18000 --fleet edge --id edge-1 > edge-1.yaml",
			"sluice bootstrap --server cp.example.com:18000 --fleet edge --id edge-2 --admin 127.0.0.1:9901 \\",
			"  --ca ca.crt --cert edge-2.crt --key edge-2.key > edge-2.yaml",
			"sluice bootstrap --server cp.example.com:18000 --token @join.token --id edge-3 --dir /etc/sluice-proxy",
			"sluice bootstrap --renew --dir /etc/sluice-proxy",
			"envoy -c edge-1.yaml       # or",
			"sluice-proxy -c edge-1.yaml"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Server = cmp.Or(server.named(), defaultServer)
			opts.CA, opts.Certificate, opts.Key = server.ca, server.cert, server.key
			if own.token != "" || own.renew {
				return own.run(cmd, opts)
			}
			if own.dir != "" || own.force {
				return usagef("--dir and --force want --token or --renew")
			}
			if opts.ID == "" {
				return usagef("want --id: a name for this proxy, of which there is one in its fleet")
			}
			text, err := bootstrap.Write(opts)
			if err != nil {
				return usageError{err}
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	server.addAddress(cmd)
	own.add(cmd)
	cmd.Flags().StringVar(&opts.Fleet, "fleet", "default", "the `fleet` that the proxy belongs to (xDS node.cluster)")
	cmd.Flags().StringVar(&opts.ID, "id", "", "the proxy's `id` in its fleet (xDS node.id)")
	cmd.Flags().StringVar(&opts.Admin, "admin", "", "`address` of the proxy's admin server (default none)")
	cmd.Flags().Uint64Var(&opts.MaxConnections, "max-connections", defaultMaxConnections, "how many connections of clients the proxy takes in all; 0 for no bound")
	cmd.Flags().Uint64Var(&opts.MaxHeap, "max-heap", 0, "how many `bytes` of memory the proxy may use before it refuses new work (default no bound)")
	cmd.Flags().BoolVar(&opts.StateOfTheWorld, "sotw", false, "state-of-the-world xDS in place of delta")
	return cmd
}

// joinFlags are for a proxy that gets its certificate from the control plane.
type joinFlags struct {
	token, dir   string
	renew, force bool
}

func (j *joinFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&j.token, "token", "", "join with this `token`; - for standard input, @FILE for a file")
	cmd.Flags().StringVar(&j.dir, "dir", "", "`folder` for bootstrap.yaml, identity.json and trust.json (with --token and --renew)")
	cmd.Flags().BoolVar(&j.renew, "renew", false, "renew the certificate in --dir if it is time")
	cmd.Flags().BoolVar(&j.force, "force", false, "with --renew: also before it is time")
}

func (j *joinFlags) run(cmd *cobra.Command, opts bootstrap.Options) error {
	switch {
	case j.dir == "":
		return usagef("want --dir: a folder for the proxy's files")
	case j.token != "" && j.renew:
		return usagef("--token joins and --renew renews: want the one or the other")
	case j.force && !j.renew:
		return usagef("--force wants --renew")
	case opts.CA+opts.Certificate+opts.Key != "":
		return usagef("--ca, --cert and --key are for certificates from elsewhere: want none with --token and --renew")
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), callTimeout)
	defer cancel()
	if j.renew {
		for _, flag := range []string{"server", "fleet", "id", "admin", "max-connections", "max-heap", "sotw"} {
			if cmd.Flags().Changed(flag) {
				return usagef("--%s: want it with --token alone: --renew takes all from --dir", flag)
			}
		}
		now, done, err := join.Renew(ctx, j.dir, j.force)
		if err != nil {
			return err
		}
		if !done {
			return say(cmd, "proxy %s of fleet %s: its certificate is good until %s, and renewed from %s on\n", now.ID, now.Fleet, stamp(now.Expires), stamp(now.Renew))
		}
		return say(cmd, "proxy %s of fleet %s: its certificate was renewed, and is good until %s\n", now.ID, now.Fleet, stamp(now.Expires))
	}
	token, err := j.read(cmd)
	if err != nil {
		return err
	}
	if !cmd.Flags().Changed("fleet") {
		opts.Fleet = "" // the token says it
	}
	got, err := join.Enroll(ctx, join.Options{Token: token, Dir: j.dir, Bootstrap: opts})
	if err != nil {
		return err
	}
	return say(cmd, "proxy %s of fleet %s has joined: start it with -c %s/%s\nIts certificate is good until %s: run 'sluice bootstrap --renew --dir %s' from a timer\n",
		got.ID, got.Fleet, strings.TrimRight(j.dir, "/"), join.BootstrapFile, stamp(got.Expires), j.dir)
}

// read keeps a token out of the list of processes.
func (j *joinFlags) read(cmd *cobra.Command) (string, error) {
	path, isFile := strings.CutPrefix(j.token, "@")
	switch {
	case j.token == "-":
		text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 4096))
		return string(text), err
	case isFile:
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("--token: %w", err)
		}
		return string(text), nil
	}
	return j.token, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func say(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format, args...)
	return err
}
