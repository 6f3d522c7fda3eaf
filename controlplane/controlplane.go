// Package controlplane runs the pipeline from the files to the proxies.
//
// In: paths with definitions, addresses to listen on. Out: xDS and the admin API on one port, health and metrics on
// another. Here the rooms are joined, in the order of the walk; each knows its own work and not its neighbours'.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/controlplane/admin"
	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/describe"
	"github.com/sluice-proxy/sluice/controlplane/holdback"
	"github.com/sluice-proxy/sluice/controlplane/identity/entrance"
	"github.com/sluice-proxy/sluice/controlplane/negotiate"
	"github.com/sluice-proxy/sluice/controlplane/plan"
	"github.com/sluice-proxy/sluice/controlplane/quarantine"
	"github.com/sluice-proxy/sluice/controlplane/revision"
	"github.com/sluice-proxy/sluice/controlplane/source"
	"github.com/sluice-proxy/sluice/controlplane/srv"
	"github.com/sluice-proxy/sluice/controlplane/status"
	"github.com/sluice-proxy/sluice/controlplane/store"
	"github.com/sluice-proxy/sluice/dns"
	"github.com/sluice-proxy/sluice/xds/csds"
	"github.com/sluice-proxy/sluice/xds/features"
	"github.com/sluice-proxy/sluice/xds/server"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// Options say what to serve, and where.
type Options struct {
	// Paths are files, folders, or "-" for Stdin, which is read once.
	Paths []string
	Stdin io.Reader

	// Listen is the address for xDS and the admin API; ListenOps that for health and metrics, "" for none. The
	// listeners, where given, are used instead, and closed in the end.
	Listen, ListenOps     string
	Listener, OpsListener net.Listener

	// StateDir keeps the last good versions and the self-signed certificates across restarts. Empty: in memory.
	StateDir string

	// Identity says how proxies and people are known on Listen.
	Identity entrance.Options

	// HoldOff and MaxDelay are as in source.Options.
	HoldOff, MaxDelay time.Duration

	// Names is asked for SRV records, and for the addresses of their targets. Nil: those whom resolv.conf, or a Service, names.
	Names srv.Asker
	// Features is what a Go proxy of this build takes: no such proxy, nor one that says more, is asked about. Nil: all are that
	// say what they take. KeepFeatures is how long a proxy that went counts; 0 is 15 minutes.
	Features     features.Table
	KeepFeatures time.Duration
	// Explain says, as JSON, where a request goes by what is served. Nil: nobody can ask.
	Explain func(served *compile.Output, request *adminv1.ExplainRequest) ([]byte, error)
	// Ready, if not nil, is called once, with the addresses that were bound (ops is nil if there is none), after the
	// first build was tried.
	Ready func(xds, ops net.Addr)
	// Logger is for everything. Nil is slog.Default.
	Logger *slog.Logger
}

// stopWithin is how long a stop may take before connections are cut.
const stopWithin = 3 * time.Second

// Run serves until ctx ends, which is no error. Nothing is served to proxies before the first full build.
func Run(ctx context.Context, opts Options) (err error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Names == nil {
		opts.Names = &dns.Client{}
	}
	xdsListener, opsListener, err := opts.listen()
	if err != nil {
		return err
	}
	defer xdsListener.Close()
	if opsListener != nil {
		defer opsListener.Close()
	}
	documents, err := store.Open(store.Options{Dir: opts.StateDir, Logger: opts.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, documents.Close()) }()
	who, err := entrance.Open(opts.Identity, xdsListener.Addr(), opts.StateDir, opts.Logger)
	if err != nil {
		return err
	}
	proxies := status.New(status.Options{Logger: opts.Logger})
	metrics := admin.NewMetrics(proxies, proxies)
	snapshots := snapshot.NewCache()
	abilities := negotiate.New(negotiate.Options{Next: metrics, Own: opts.Features, KeepFor: opts.KeepFeatures, Kept: documents.Abilities(), Logger: opts.Logger})
	names := srv.New(srv.Options{Asker: opts.Names, Kept: documents.Answers(), Logger: opts.Logger})
	defer names.Close()
	metrics.Names(names)
	held := quarantine.New(quarantine.Options{Next: abilities, Accepted: documents.Accepted(), Kept: documents.Quarantine(), Logger: opts.Logger})
	defer held.Close()
	metrics.Quarantine(held.Count)
	builder := &builder{
		log: opts.Logger, documents: documents, snapshots: snapshots, proxies: proxies, metrics: metrics,
		explain: opts.Explain, names: names, quarantine: held, history: revision.New(revision.Options{Store: documents, Logger: opts.Logger}), previous: map[string]built{}, told: store.ProblemLog{Log: opts.Logger},
	}

	builder.gate = &holdback.Gate{Room: abilities, Documents: documents, Build: builder.tried}

	xds := server.New(server.Options{Cache: snapshots, Observer: held, Refusals: proxies.Refused, Authorize: who.Guard.AuthorizeProxy, Logger: opts.Logger})
	proxies.Ask(xds, builder.origins)
	rpc := grpc.NewServer(append(server.ServerOptions(), append(who.ServerOptions(), grpc.StatsHandler(metrics.Traffic()))...)...)
	xds.Register(rpc)
	csds.Register(rpc, csds.Options{Server: xds})
	adminv1.RegisterAdminServiceServer(rpc, admin.NewService(admin.ServiceOptions{
		Proxies: proxies, Problems: builder.problems, Explain: builder.explainRequest, Closing: ctx.Done(),
	}))
	who.Register(rpc)
	planner := plan.New(plan.Options{
		Paths: opts.Paths, Store: documents, Abilities: abilities, Served: builder.served, Proxies: proxies.Proxies, Servers: names.Known, Undone: func(set store.Set) store.Set {
			set = builder.history.Preview(set)
			set.Held, _ = held.Holds() // what proxies refused stays held back
			return set
		},
	})
	adminv1.RegisterDefinitionServiceServer(rpc, admin.NewDefinitions(admin.DefinitionsOptions{
		Planner: planner,
		Describer: describe.New(describe.Options{
			Served: builder.served, Proxies: proxies.Proxies, Troubled: func(ctx context.Context, fleet, id string) ([]status.Resource, error) {
				return proxies.Resources(ctx, fleet, id, true)
			},
		}),
		Revisions: revision.Answers{Of: builder.history, Plan: func(ctx context.Context, set store.Set) (*adminv1.PlanResponse, error) {
			set.Held, _ = held.Holds()
			return planner.Set(ctx, set)
		}},
	}))
	ops := admin.NewOps(metrics, snapshots.Ready)

	group, ctx := errgroup.WithContext(ctx)
	watcher := source.Watch(ctx, source.Options{
		Paths: opts.Paths, Stdin: opts.Stdin, HoldOff: opts.HoldOff, MaxDelay: opts.MaxDelay, Logger: opts.Logger,
	})
	group.Go(func() error { return rpc.Serve(xdsListener) })
	if opsListener != nil {
		group.Go(func() error { return ignoreClosed(ops.Serve(opsListener)) })
	}
	group.Go(func() error {
		return builder.run(ctx, watcher, func() {
			if opts.Ready != nil {
				opts.Ready(xdsListener.Addr(), address(opsListener))
			}
		})
	})
	group.Go(func() error { // the end
		<-ctx.Done()
		xds.Close()
		cut := time.AfterFunc(stopWithin, rpc.Stop)
		defer cut.Stop()
		rpc.GracefulStop()
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
		defer cancel()
		if ops.Shutdown(shutdown) != nil {
			_ = ops.Close()
		}
		<-watcher.Done()
		return nil
	})
	return group.Wait()
}

func (o *Options) listen() (xds, ops net.Listener, err error) {
	if xds = o.Listener; xds == nil {
		if xds, err = net.Listen("tcp", o.Listen); err != nil {
			return nil, nil, fmt.Errorf("control plane: %w", err)
		}
	}
	if ops = o.OpsListener; ops == nil && o.ListenOps != "" {
		if ops, err = net.Listen("tcp", o.ListenOps); err != nil {
			xds.Close()
			return nil, nil, fmt.Errorf("control plane: %w", err)
		}
	}
	return xds, ops, nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func address(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

// gcPercent is how much garbage there may be for what is in use, in per cent. Go's own 100 lets a control plane hold twice what it
// needs all day, for CPU that it needs only with an edit: see ARCHITECTURE.md.
const gcPercent = 50

// SpareMemory has garbage collected more often than Go does by itself, in a process that is a control plane and nothing else;
// whoever sets GOGC has decided.
func SpareMemory() {
	if _, decided := os.LookupEnv("GOGC"); !decided {
		debug.SetGCPercent(gcPercent)
	}
}
