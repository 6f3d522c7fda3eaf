// Package dataplane runs one proxy: the control plane's client feeds assemble, which feeds live; an admin server shows
// all of it; in the end connections drain.
//
// In: a bootstrap. Out: traffic. Here the rooms are joined; each knows its own work and not its neighbours'. Nothing is
// global: several proxies may run in one process.
package dataplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-proxy/sluice/dataplane/admin"
	"github.com/sluice-proxy/sluice/dataplane/assemble"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/decode"
	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/live"
	"github.com/sluice-proxy/sluice/dataplane/overload"
	"github.com/sluice-proxy/sluice/dataplane/resolve"
	"github.com/sluice-proxy/sluice/xds/bootstrap"
	"github.com/sluice-proxy/sluice/xds/client"
	"github.com/sluice-proxy/sluice/xds/features"
)

// Options are one proxy's.
type Options struct {
	// Bootstrap is Envoy's bootstrap, in YAML or JSON; Overlay is merged into it, and may be nil (--config-yaml).
	Bootstrap, Overlay []byte
	// NodeID and NodeCluster replace the bootstrap's node.id and node.cluster if they are not empty.
	NodeID, NodeCluster string
	// Version is what the proxy tells the control plane and the admin server.
	Version string
	// DrainTime is how long connections of what is gone may go on, and all of them in the end. 0 is 10 minutes, as Envoy
	// has it.
	DrainTime time.Duration
	// MaxConnectionsPerClient bounds the connections of one client's address; 0 is no bound.
	MaxConnectionsPerClient int
	// State is a folder that keeps the last good configuration, private keys and all, to start from when no control plane
	// answers; empty is none.
	State string
	// Handover is the path of a unix socket by which the next process takes this one's place, and this one that of whoever
	// is there already; empty is none.
	Handover string
	// Sockets are descriptors that the process was started with (systemd's): listeners that want their addresses get them. Run
	// owns them.
	Sockets []*os.File
	// Yielded, if not nil, is called when another process has taken this one's place, with its id (0 if it is not to be
	// seen); and Draining when the end begins, whatever its reason.
	Yielded  func(pid int)
	Draining func()
	// MinBodyRate is how many bytes a second a request's body must bring; 0 is any.
	MinBodyRate int
	// Listening, if not nil, is called once with the admin server's address (nil if there is none), and Ready once, when
	// the first complete configuration serves.
	Listening func(admin net.Addr)
	Ready     func()
	// Logger is for everything but access logs. Nil is slog.Default.
	Logger *slog.Logger
}

// Validate reads the bootstrap and all that is static in it, and starts nothing.
func Validate(options Options) error {
	b, err := options.read()
	if err != nil {
		return err
	}
	_, err = assemble.New(assembly(b, nil, nil, nil, nil, options.Logger))
	return err
}

// Run serves until ctx ends, drains, and returns nil. An error is of the bootstrap, of what is static in it, or of an
// address that cannot be bound: a control plane that is away is none.
func Run(ctx context.Context, options Options) error {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.DrainTime <= 0 {
		options.DrainTime = 10 * time.Minute
	}
	b, err := options.read()
	if err != nil {
		return err
	}
	place, err := newSuccession(&options, b)
	defer place.close()
	if err != nil {
		return err
	}
	memory, err := newMemory(options.State, b, options.Logger)
	if err != nil {
		return err
	}
	controlPlane, err := newClient(b, memory.fallback(), options.Logger)
	if err != nil {
		return err
	}
	if most := listener.MostConnections(); b.Overload.MaxConnections > int64(most) {
		options.Logger.Warn("fewer connections than the bootstrap allows: the process may not have as many descriptors",
			"allowed", b.Overload.MaxConnections, "possible", most)
	}
	pressure := newPressure(b.Overload)
	runtime := live.New(options.live(b.Overload, pressure, place.sockets))
	var assembler *assemble.Assembler
	resolver := resolve.New(resolve.Options{Changed: func() { assembler.Resolved() }, Logger: options.Logger})
	defer resolver.Close()
	assembler, err = assemble.New(assembly(b, controlPlane, runtime, resolver, memory.changed(), options.Logger))
	if err != nil {
		return err
	}
	memory.assembler = assembler
	adminListener, err := place.listenAdmin(b.Admin)
	if err != nil {
		return err
	}
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	life := &life{runtime: runtime, drainTime: options.DrainTime, ready: assembler.Ready(), draining: make(chan struct{})}
	// Whatever ends Run, nothing goes on after it.
	defer life.drain()
	defer assembler.Close()
	if err := assembler.Start(); err != nil {
		if adminListener != nil {
			_ = adminListener.Close() // nobody has used it
		}
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	if pressure != nil {
		group.Go(func() error { pressure.Run(ctx); return nil })
	}
	adminContext, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAdmin()
	adminEnded := make(chan struct{})
	if adminListener != nil {
		server := admin.New(admin.Options{
			Version:        options.Version,
			State:          life.state,
			View:           func() admin.View { return viewOf(runtime.View(), resolver.Names()) },
			Overloaded:     runtime.Overloaded,
			XDS:            xdsOf(controlPlane),
			ConfigDump:     func() ([]byte, error) { return dump(b, assembler) },
			DrainListeners: func() { go life.drain() }, // the deferred drain waits for it
			Quit:           quit,
		})
		group.Go(func() error {
			defer close(adminEnded)
			return place.whenOwner(ctx, func() error { return server.Serve(adminContext, adminListener) }, adminListener.Close)
		})
	} else {
		close(adminEnded)
	}
	if options.Listening != nil {
		options.Listening(address(adminListener))
	}
	if memory.keeper != nil {
		group.Go(func() error {
			return place.whenOwner(ctx, func() error { memory.keeper.Run(ctx); return nil }, nil)
		})
	}
	if controlPlane != nil {
		group.Go(func() error { return ignoreEnd(ctx, controlPlane.Run(ctx, assembler)) })
	}
	group.Go(func() error {
		if err := place.take(ctx, assembler.Ready(), func() bool { return refused(controlPlane) }); err != nil || ctx.Err() != nil {
			return err
		}
		options.Logger.Info("serving")
		if options.Ready != nil {
			options.Ready()
		}
		return nil
	})
	group.Go(func() error {
		place.offer(ctx, runtime, adminListener, func(pid int) {
			if memory.keeper != nil {
				memory.keeper.Stop()
			}
			stopAdmin()
			<-adminEnded
			if options.Yielded != nil {
				options.Yielded(pid)
			}
			quit()
		})
		return nil
	})
	group.Go(func() error { // the end
		<-ctx.Done()
		options.Logger.Info("draining", "at_most", options.DrainTime)
		if options.Draining != nil {
			options.Draining()
		}
		resolver.Close()
		life.drain()
		stopAdmin()
		return nil
	})
	return group.Wait()
}

func (o *Options) read() (*bootstrap.Bootstrap, error) {
	var overlays [][]byte
	if o.Overlay != nil {
		overlays = append(overlays, o.Overlay)
	}
	b, err := bootstrap.Read(o.Bootstrap, overlays...)
	if err != nil {
		return nil, err
	}
	features.Announce(b.Node, decode.Features())
	return b, b.Identify(o.NodeID, o.NodeCluster, o.Version)
}

// newPressure is nil where memory has no bound.
func newPressure(o bootstrap.Overload) *overload.Monitor {
	if o.MaxHeap == 0 {
		return nil
	}
	return overload.New(overload.Options{
		MaxBytes: o.MaxHeap, Every: o.Refresh,
		StopRequests: o.StopRequests, StopConnections: o.StopConnections, RejectConnections: o.RejectConnections,
	})
}

func (o *Options) live(limits bootstrap.Overload, pressure *overload.Monitor, sockets *listener.Inherited) live.Options {
	l := live.Options{
		DrainTime: o.DrainTime, Logger: o.Logger, Inherited: sockets,
		MaxConnections:          int(min(limits.MaxConnections, math.MaxInt32)),
		MaxConnectionsPerClient: o.MaxConnectionsPerClient, MinBodyRate: o.MinBodyRate,
	}
	if pressure != nil {
		l.Pressure = pressure
	}
	return l
}

// newClient is nil without a control plane.
func newClient(b *bootstrap.Bootstrap, fallback func() []client.Update, logger *slog.Logger) (*client.Client, error) {
	if b.ADS == nil {
		return nil, nil
	}
	transport, err := client.NewGRPC(b.ADS.Target)
	if err != nil {
		return nil, err
	}
	return client.New(client.Options{
		Node:            b.Node,
		Transport:       transport,
		StateOfTheWorld: b.ADS.StateOfTheWorld,
		Name:            decode.Name,
		BackoffBase:     b.ADS.BackoffBase,
		BackoffMax:      b.ADS.BackoffMax,
		ConnectTimeout:  b.ADS.Target.ConnectTimeout,
		Fallback:        fallback,
		Logger:          logger,
	}), nil
}

// assembly joins assemble to the rooms beside it. Without a runtime nothing is bound or applied.
func assembly(b *bootstrap.Bootstrap, controlPlane *client.Client, runtime *live.Runtime, resolver *resolve.Resolver, changed func(), logger *slog.Logger) assemble.Options {
	o := assemble.Options{
		Listeners: b.Listeners, Clusters: b.Clusters, Secrets: b.Secrets,
		DynamicListeners: b.DynamicListeners, DynamicClusters: b.DynamicClusters,
		StateOfTheWorld: b.ADS != nil && b.ADS.StateOfTheWorld,
		Bind:            func(*config.Listener) error { return nil },
		Apply:           func(*config.Config) error { return nil },
		Changed:         changed,
		Logger:          logger,
	}
	if runtime != nil {
		o.Bind, o.Apply, o.Resolver = runtime.Bind, runtime.Apply, resolver
	}
	switch {
	case controlPlane != nil:
		o.Subscriber = controlPlane
	case b.ADS != nil:
		o.Subscriber = nobody{}
	}
	return o
}

// nobody stands for the control plane where it is not asked (Validate).
type nobody struct{}

func (nobody) Subscribe(string, []string) {}
func (nobody) SubscribeAll(string)        {}

// life is the proxy's state, for the admin server and for the end.
type life struct {
	runtime   *live.Runtime
	drainTime time.Duration
	ready     <-chan struct{}
	// draining is closed when drain has begun.
	draining chan struct{}
	once     sync.Once
}

// drain stops accepting, and returns when all that was in flight has ended, or was cut. Who comes second waits too.
func (l *life) drain() {
	l.once.Do(func() {
		close(l.draining)
		ctx, cancel := context.WithTimeout(context.Background(), l.drainTime)
		defer cancel()
		l.runtime.Drain(ctx)
	})
}

func (l *life) state() admin.State {
	select {
	case <-l.draining:
		return admin.Draining
	default:
	}
	select {
	case <-l.ready:
		return admin.Live
	default:
		return admin.Initializing
	}
}

func address(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}

func xdsOf(c *client.Client) func() admin.XDS {
	if c == nil {
		return nil
	}
	return func() admin.XDS {
		s := c.Stats()
		return admin.XDS{Connected: s.Connected, FallenBack: s.FallenBack, Updates: s.Updates, Rejects: s.Rejects}
	}
}

func viewOf(v *live.View, names []resolve.Name) admin.View {
	view := admin.View{
		Clusters: v.Clusters, Connections: v.Connections, MaxConnections: v.MaxConnections,
		MemoryUsed: v.MemoryUsed, MaxMemory: v.MaxMemory, Names: names,
	}
	for _, l := range v.Listeners {
		view.Listeners = append(view.Listeners, admin.Listener{
			Name:                  l.Name,
			Addresses:             []config.Address{l.Address},
			ConnectionsActive:     l.ConnectionsActive,
			ConnectionsTotal:      l.ConnectionsTotal,
			HandshakeFailures:     l.HandshakeFailures,
			BadClientCertificates: l.BadClientCertificates,
			Refused:               l.Refused,
			RequestsRefused:       l.RequestsRefused,
			BodiesSlow:            l.BodiesSlow,
			BadProxyHeaders:       l.BadProxyHeaders,
			Requests:              l.Requests,
			RequestsActive:        l.RequestsActive,
			UpgradesActive:        l.UpgradesActive,
			UpgradesTotal:         l.UpgradesTotal,
		})
	}
	return view
}

func dump(b *bootstrap.Bootstrap, a *assemble.Assembler) ([]byte, error) {
	text, err := b.JSON()
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return a.ConfigDump(text)
}

// ignoreEnd makes the end that was asked for no error.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
