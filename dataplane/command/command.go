// Package command is the command line of the proxy, whose flags mean what they mean to Envoy.
//
// In: arguments. Out: a running proxy, and an exit code: 0 is fine, 1 is wrong input, 2 is wrong usage. What Envoy's
// command line has and this proxy cannot honour is refused. It must not know how a proxy is built.
// https://www.envoyproxy.io/docs/envoy/latest/operations/cli
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"

	"github.com/sluice-proxy/sluice/dataplane"
	"github.com/sluice-proxy/sluice/dataplane/systemd"
)

// flags are one command line.
type flags struct {
	configPath, configYAML string
	node, cluster          string
	drainTime              uint32
	concurrency            uint32
	perClient, bodyRate    uint32
	level, mode, state     string
	handover               string
	version                bool
}

// Main runs one command line, without the program's name, until ctx ends and all is drained. name is for messages.
func Main(ctx context.Context, name string, args []string, stdout, stderr io.Writer) int {
	f, set := define(name)
	set.SetOutput(stderr)
	if err := set.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			fmt.Fprintf(stdout, "Usage: %s -c FILE [flags]\n\n%s", name, set.FlagUsages())
			return 0
		}
		return misused(stderr, name, err)
	}
	if f.version {
		fmt.Fprintf(stdout, "%s %s %s\n", name, Version(), runtime.Version())
		return 0
	}
	level, err := f.check(set)
	if err != nil {
		return misused(stderr, name, err)
	}
	options := dataplane.Options{
		NodeID: f.node, NodeCluster: f.cluster, Version: Version(),
		// 0 ends connections at once, and is not Options' "as usual".
		DrainTime:               max(time.Duration(f.drainTime)*time.Second, time.Nanosecond),
		State:                   f.state,
		Handover:                f.handover,
		MaxConnectionsPerClient: int(f.perClient), MinBodyRate: int(f.bodyRate),
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	}
	if f.configPath != "" {
		if options.Bootstrap, err = os.ReadFile(f.configPath); err != nil {
			return failed(stderr, name, err)
		}
	}
	if f.configYAML != "" {
		options.Overlay = []byte(f.configYAML)
	}
	if f.mode == "validate" {
		if err := dataplane.Validate(options); err != nil {
			return failed(stderr, name, err)
		}
		fmt.Fprintf(stdout, "configuration '%s' OK\n", f.configPath)
		return 0
	}
	if f.concurrency > 0 {
		runtime.GOMAXPROCS(int(f.concurrency))
	}
	if options.Sockets, err = systemd.Sockets(); err != nil {
		return failed(stderr, name, err)
	}
	m := newManager(f.handover != "", options.Logger)
	options.Ready, options.Yielded, options.Draining = m.ready, m.yielded, m.draining
	defer m.watch()()
	if err := dataplane.Run(ctx, options); err != nil {
		return failed(stderr, name, err)
	}
	return 0
}

// Usage describes the flags, for the help of another command that runs Main.
func Usage() string {
	_, set := define("sluice-proxy")
	return set.FlagUsages()
}

func define(name string) (*flags, *pflag.FlagSet) {
	f := &flags{}
	set := pflag.NewFlagSet(name, pflag.ContinueOnError)
	set.SortFlags = false
	set.Usage = func() {}
	set.StringVarP(&f.configPath, "config-path", "c", "", "Envoy bootstrap `file`, YAML or JSON")
	set.StringVar(&f.configYAML, "config-yaml", "", "bootstrap as `text`, merged into the file")
	set.StringVar(&f.node, "service-node", "", "node `id`, in place of the bootstrap's")
	set.StringVar(&f.cluster, "service-cluster", "", "node `cluster` (the fleet), in place of the bootstrap's")
	set.Uint32Var(&f.drainTime, "drain-time-s", 600, "how many `seconds` connections may go on in the end, or after their listener changed")
	set.Uint32Var(&f.concurrency, "concurrency", 0, "how many CPUs to use at once (default all)")
	set.Uint32Var(&f.perClient, "max-connections-per-client", 0, "how many `connections` one client's address (IPv6: its /64) may have open (default no limit)")
	set.Uint32Var(&f.bodyRate, "min-body-rate", 0, "how many `bytes` a second a request's body must bring, after 20 s of grace (default any)")
	set.StringVar(&f.state, "state", "", "`folder` that keeps the last good configuration, private keys and all, to start from when no control plane answers (default none)")
	set.StringVar(&f.handover, "handover", "", "unix socket at `path`, by which the next process takes this one's place without a refused connection, and this one that of whoever is there (default none)")
	set.StringVarP(&f.level, "log-level", "l", "info", "trace, debug, info, warning, error, critical or off")
	set.StringVar(&f.mode, "mode", "serve", "serve, or validate: read the configuration and end")
	set.BoolVar(&f.version, "version", false, "print the version and end")
	for _, r := range notHonoured {
		set.String(r.name, "", "")
		_ = set.MarkHidden(r.name) // it was just defined
		if r.boolean {
			set.Lookup(r.name).NoOptDefVal = "true"
		}
	}
	// A proxy of ours takes no place from another one, and needs no such words.
	for _, name := range harmless {
		set.Bool(name, false, "")
		_ = set.MarkHidden(name)
	}
	return f, set
}

// harmless are Envoy's flags that change nothing here.
var harmless = []string{"disable-hot-restart", "disable-extensions-warning", "use-dynamic-base-id"}

// notHonoured are Envoy's flags that this proxy cannot keep. They are refused by name, and not as unknown.
var notHonoured = []struct {
	name, why string
	boolean   bool
}{
	{name: "base-id", why: "processes are replaced by --handover instead"},
	{name: "base-id-path", why: "processes are replaced by --handover instead"},
	{name: "restart-epoch", why: "processes are replaced by --handover instead"},
	{name: "parent-shutdown-time-s", why: "processes are replaced by --handover instead"},
	{name: "socket-path", why: "processes are replaced by --handover instead"},
	{name: "socket-mode", why: "processes are replaced by --handover instead"},
	{name: "hot-restart-version", why: "processes are replaced by --handover instead", boolean: true},
	{name: "drain-strategy", why: "connections are told to end as soon as their draining begins (immediate)"},
	{name: "component-log-level", why: "there is one level for all; use -l"},
	{name: "log-format", why: "the log is key=value"},
	{name: "log-format-escaped", why: "the log is key=value", boolean: true},
	{name: "log-path", why: "the log goes to standard error"},
	{name: "enable-fine-grain-logging", why: "there is one level for all; use -l", boolean: true},
	{name: "file-flush-interval-msec", why: "access logs have their own interval"},
	{name: "file-flush-min-size-kb", why: "access logs have their own size"},
	{name: "admin-address-path", why: "write the address into the bootstrap"},
	{name: "local-address-ip-version", why: "write the address into the bootstrap"},
	{name: "service-zone", why: "write it into the bootstrap, as node.locality.zone"},
	{name: "ignore-unknown-dynamic-fields", why: "nothing is ignored", boolean: true},
	{name: "reject-unknown-dynamic-fields", why: "they are always rejected; leave it out", boolean: true},
	{name: "allow-unknown-static-fields", why: "nothing is ignored", boolean: true},
	{name: "allow-unknown-fields", why: "nothing is ignored", boolean: true},
	{name: "skip-deprecated-logs", why: "there are none", boolean: true},
	{name: "disable-extensions", why: "there are no extensions"},
	{name: "enable-mutex-tracing", why: "there is none", boolean: true},
	{name: "cpuset-threads", why: "use --concurrency", boolean: true},
	{name: "stats-tag", why: "tags are not supported"},
	{name: "enable-core-dump", why: "set GOTRACEBACK=crash instead", boolean: true},
}

var levels = map[string]slog.Level{
	"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warning": slog.LevelWarn, "warn": slog.LevelWarn,
	"error": slog.LevelError, "critical": slog.LevelError + 4, "off": slog.LevelError + 8,
}

// check finds wrong usage.
func (f *flags) check(set *pflag.FlagSet) (slog.Level, error) {
	for _, r := range notHonoured {
		if set.Changed(r.name) {
			return 0, fmt.Errorf("--%s: not supported by sluice-proxy: %s", r.name, r.why)
		}
	}
	level, ok := levels[f.level]
	switch {
	case set.NArg() > 0:
		return 0, fmt.Errorf("got argument %q, want flags alone", set.Arg(0))
	case !ok:
		return 0, fmt.Errorf("--log-level: got %q, want trace, debug, info, warning, error, critical or off", f.level)
	case f.mode != "serve" && f.mode != "validate":
		return 0, fmt.Errorf("--mode: got %q, want serve or validate", f.mode)
	case f.configPath == "" && f.configYAML == "":
		return 0, errors.New("want -c FILE: an Envoy bootstrap")
	}
	return level, nil
}

func misused(stderr io.Writer, name string, err error) int {
	fmt.Fprintf(stderr, "%s: %v\nTry '%s --help'.\n", name, err, name)
	return 2
}

func failed(stderr io.Writer, name string, err error) int {
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return 1
}

// Version is this binary's: of its module, or "(devel)".
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
