package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sluice-proxy/sluice/controlplane"
	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/dataplane"
	"github.com/sluice-proxy/sluice/dataplane/command"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
)

// runFlags are those of `sluice run`.
type runFlags struct {
	paths, demos                          []string
	fleet, listen, admin, state, logLevel string
	drain                                 time.Duration
}

func newRunCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a control plane and a Go proxy in one process",
		Long: `run is the whole of Sluice in one process, for one machine: a control plane that
watches files and folders, and a Go proxy that serves what they say. Save a file and
it is live; a document that is bad is told with file, line and column, and what was
there before serves on.

The proxy asks the control plane over loopback, as any proxy of a fleet would; so
more proxies can join. 'sluice status', 'sluice wait' and 'sluice explain' ask it too.

With --demo-upstream it starts upstreams to route to, which tell what they see.`,
		Example: example(
			"sluice run -f conf",
			"sluice run -f examples/quickstart --demo-upstream v1=127.0.0.1:9001 --demo-upstream v2=127.0.0.1:9002"),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAll(cmd, &f) },
	}
	filesFlag(cmd, &f.paths)
	flags := cmd.Flags()
	flags.StringVar(&f.fleet, "fleet", "", "the `fleet` that the proxy belongs to (default: the only one there is, else \"default\")")
	flags.StringVar(&f.listen, "listen", defaultServer, "`address` for xDS and the API: loopback")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:9901", "`address` of the proxy's admin server; empty for none")
	flags.StringVar(&f.state, "state", "", "`folder` that keeps the last good versions across restarts (default: none, in memory)")
	flags.StringArrayVar(&f.demos, "demo-upstream", nil, "start a demo upstream, `name=address`; may be given several times")
	flags.DurationVar(&f.drain, "drain-time", 10*time.Second, "how long requests in flight have when it ends")
	logFlag(cmd, &f.logLevel)
	return cmd
}

// runAll starts the demo upstreams, the control plane, and, when that knows its address, the proxy. All end together.
func runAll(cmd *cobra.Command, f *runFlags) error {
	logger, err := newLogger(cmd.ErrOrStderr(), f.logLevel)
	if err != nil {
		return err
	}
	if f.state == "" {
		if err := checkPaths(f.paths); err != nil {
			return err
		}
	}
	// Standard input can be read once, and is wanted twice.
	stdin, err := readStdin(cmd, f.paths)
	if err != nil {
		return err
	}
	cmd.SetIn(bytes.NewReader(stdin))
	built, err := build(cmd, f.paths)
	if err != nil {
		return err
	}
	fleet, err := f.chooseFleet(built.Compiled.Fleets)
	if err != nil {
		return err
	}
	demos, err := f.listenDemos()
	if err != nil {
		return err
	}
	xds, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	text, err := bootstrap.Write(bootstrap.Options{Server: xds.Addr().String(), Fleet: fleet, ID: "run", Admin: f.admin})
	if err != nil {
		return usageError{err}
	}

	group, ctx := errgroup.WithContext(cmd.Context())
	for _, d := range demos {
		group.Go(func() error { return serveDemo(ctx, d.listener, d.name, false) })
	}
	// The control plane outlives the proxy, which may drain.
	planeCtx, stopPlane := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPlane()
	group.Go(func() error {
		return controlplane.Run(planeCtx, controlplane.Options{
			Paths: f.paths, Stdin: bytes.NewReader(stdin), Listener: xds, StateDir: f.state, Explain: explainServed, Logger: logger,
		})
	})
	group.Go(func() error {
		defer stopPlane()
		return dataplane.Run(ctx, dataplane.Options{
			Bootstrap: text, Version: command.Version(), DrainTime: f.drain, Logger: logger,
			Ready: func() {
				_, _ = io.WriteString(cmd.OutOrStdout(), f.greeting(fleet, built.Compiled.Fleets, xds.Addr(), demos))
			},
		})
	})
	return group.Wait()
}

func readStdin(cmd *cobra.Command, paths []string) ([]byte, error) {
	for _, p := range paths {
		if p == "-" {
			return io.ReadAll(cmd.InOrStdin())
		}
	}
	return nil, nil
}

func (f *runFlags) chooseFleet(fleets []*ir.Fleet) (string, error) {
	if f.fleet == "" {
		if len(fleets) == 1 {
			return fleets[0].Name, nil
		}
		return "default", nil
	}
	if len(fleets) == 0 {
		return f.fleet, nil
	}
	_, err := fleetOf(fleets, f.fleet)
	return f.fleet, err
}

// demoUpstream is one that `run` serves itself.
type demoUpstream struct {
	name     string
	listener net.Listener
}

func (f *runFlags) listenDemos() ([]demoUpstream, error) {
	var demos []demoUpstream
	for _, d := range f.demos {
		name, address, ok := strings.Cut(d, "=")
		if !ok || name == "" {
			return nil, usagef("--demo-upstream: got %q, want name=address", d)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("--demo-upstream %s: %w", name, err)
		}
		demos = append(demos, demoUpstream{name, l})
	}
	return demos, nil
}

// greeting says where what is served, and what to try next.
func (f *runFlags) greeting(fleet string, fleets []*ir.Fleet, xds net.Addr, demos []demoUpstream) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nServing fleet %s from %s:\n", fleet, strings.Join(f.paths, ", "))
	var first string
	for _, found := range fleets {
		if found.Name != fleet {
			continue
		}
		for i := range found.Listeners {
			for _, line := range listenerURLs(&found.Listeners[i], found.RouteTables) {
				url, _, _ := strings.Cut(line, " ")
				fmt.Fprintf(&b, "  %s\n", line)
				if first == "" || strings.HasPrefix(url, "https://") && !strings.HasPrefix(first, "https://") {
					first = url
				}
			}
		}
	}
	if first == "" {
		fmt.Fprintf(&b, "  nothing yet: no Gateway of this fleet is there\n")
	}
	for _, d := range demos {
		fmt.Fprintf(&b, "Demo upstream %s on %s\n", d.name, d.listener.Addr())
	}
	fmt.Fprintf(&b, "Control plane on %s", xds)
	if f.admin != "" {
		fmt.Fprintf(&b, ", the proxy's admin on http://%s", f.admin)
	}
	b.WriteString("\n\nTry:\n")
	switch {
	case strings.HasPrefix(first, "https://"):
		fmt.Fprintf(&b, "  curl -k %s/\n", first)
	case strings.HasPrefix(first, "http://"):
		fmt.Fprintf(&b, "  curl %s/\n", first)
	}
	server := ""
	if xds.String() != defaultServer {
		server = " --server " + xds.String()
	}
	fmt.Fprintf(&b, "  %s status%s\n", os.Args[0], server)
	if first != "" {
		fmt.Fprintf(&b, "  %s explain --server %s %s\n", os.Args[0], xds, first)
	}
	fmt.Fprintf(&b, "  edit a file and save it: the change is live at once\n\nCtrl-C ends it.\n\n")
	return b.String()
}

// listenerURLs are URLs that reach a listener from this machine, with notes on them: one for each of those that share it.
func listenerURLs(l *ir.Listener, tables []*ir.RouteTable) []string {
	chains := l.Chains
	if l.Default != nil {
		chains = append(chains[:len(chains):len(chains)], *l.Default)
	}
	var urls []string
	for i := range chains {
		if url := chainURL(l, &chains[i], tables); !slices.Contains(urls, url) {
			urls = append(urls, url)
		}
	}
	return urls
}

func chainURL(l *ir.Listener, chain *ir.FilterChain, tables []*ir.RouteTable) string {
	note := ""
	scheme := "http"
	switch {
	case chain.TCP != nil:
		scheme = "tcp"
	case chain.Certificate != "":
		scheme = "https"
	}
	host := "localhost"
	if len(chain.ServerNames) > 0 && chain.TCP != nil {
		scheme, host = "tls", strings.Replace(chain.ServerNames[0], "*", "any", 1)
	}
	if chain.HTTP != nil {
		for _, t := range tables {
			if t.Name == chain.HTTP.RouteTable && len(t.Hosts) > 0 {
				host = reachable(t.Hosts)
				if t.Hosts[0].Rules[0].Redirect != nil && strings.HasPrefix(t.Hosts[0].Rules[0].ID, "Gateway/") {
					note = "  (redirects)"
				}
			}
		}
	}
	if l.Address.Path != "" {
		return fmt.Sprintf("%s on %s", scheme, l.Address) + note
	}
	return fmt.Sprintf("%s://%s:%d", scheme, host, l.Address.Port()) + note
}

// reachable is a host that resolves to this machine, if there is one: localhost, or one below it; else the first. Hosts
// of other listeners, which are misdirected here, do not count.
func reachable(hosts []*ir.VirtualHost) string {
	best := ""
	for _, h := range hosts {
		if r := h.Rules[0].Respond; r != nil && r.Status == http.StatusMisdirectedRequest {
			continue
		}
		best = cmp.Or(best, h.Host)
		switch {
		case h.Host == "*" || h.Host == "localhost":
			return "localhost"
		case strings.HasSuffix(h.Host, ".localhost"):
			best = h.Host
		}
	}
	return strings.Replace(cmp.Or(best, hosts[0].Host), "*", "any", 1)
}
