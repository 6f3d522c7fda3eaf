// Package assemble follows what refers to what (listeners to route tables and certificates, tables to virtual hosts, routes
// to clusters, clusters to endpoints), and makes one complete configuration after another of it.
//
// In: resources as the control plane sends them, by way of xds/client, and those of the bootstrap. Out: subscriptions,
// verdicts on each resource, and config.Config values in which nothing is half there: what is new waits ("warms") until
// what it refers to came, or is known not to come, while the version before serves on. It must not know the protocol,
// nor how a configuration is served.
//
// It decides by state and not by event: whatever came, settle looks at all that is accepted and at what is active, and
// moves what it can from the one to the other.
package assemble

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/decode"
	"github.com/sluice-proxy/sluice/xds/client"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// Subscriber asks the control plane for resources; client.Client is one.
type Subscriber interface {
	Subscribe(typeURL string, names []string)
	SubscribeAll(typeURL string)
}

// Resolver keeps the addresses of names; resolve.Resolver is one.
type Resolver interface {
	// Watch says whose names are wanted from now on.
	Watch([]*config.DNS)
	// Endpoints are those of who is watched; false if nothing is known yet.
	Endpoints(*config.DNS) ([]config.Endpoint, bool)
}

// Options are an Assembler's. None of the functions may call the Assembler.
type Options struct {
	// Listeners, Clusters and Secrets are static: those of the bootstrap. Their names cannot be taken by others.
	Listeners, Clusters, Secrets []*anypb.Any
	// Subscriber is the control plane; nil is none: all is static.
	Subscriber Subscriber
	// DynamicListeners and DynamicClusters: all listeners, all clusters come from the control plane too.
	DynamicListeners, DynamicClusters bool
	// StateOfTheWorld: the control plane is asked so, where there is no VHDS.
	StateOfTheWorld bool
	// Bind opens the socket of a listener while it is judged, so that an address that cannot be bound is a refusal. It must
	// not mind a listener whose socket it has.
	Bind func(*config.Listener) error
	// Resolver looks up the names of clusters by DNS; nil is none: such clusters have no endpoints.
	Resolver Resolver
	// Apply makes a configuration run. It has done so when it returns: what was accepted then serves.
	Apply func(*config.Config) error
	// Changed, if not nil, tells that another complete configuration serves: not before the first one does.
	Changed func()
	Logger  *slog.Logger
}

// Assembler keeps the proxy's resources. Start comes first, and Close last; Ready and ConfigDump may be called by any
// goroutine.
type Assembler struct {
	// Read-only after New.
	options Options
	// ready is closed when the first complete configuration runs.
	ready chan struct{}

	// turn is held by Start, Update, Missing and a timer: one at a time.
	turn sync.Mutex

	// mu guards what ConfigDump reads while another has its turn.
	mu sync.Mutex
	// Guarded by mu.
	listeners   *set[*config.Listener]
	tables      *set[*config.RouteTable]
	hosts       *hosts
	clusters    *set[*config.Cluster]
	assignments *set[*config.Assignment]
	secrets     *set[*decode.Secret]

	// Guarded by turn.
	// applied is the last configuration that runs; nil if it failed.
	applied *config.Config
	isReady bool
	// resolved are the endpoints of active clusters by DNS, by name.
	resolved map[string]*config.Assignment
	awaited  awaited
	closed   bool
}

// New decodes what is static; what is wrong with it is the error.
func New(options Options) (*Assembler, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Subscriber == nil && (options.DynamicListeners || options.DynamicClusters) {
		return nil, errors.New("assemble: got no control plane, want one for dynamic listeners and clusters")
	}
	a := &Assembler{
		options:     options,
		ready:       make(chan struct{}),
		listeners:   newSet("listener", resource.ListenerType, decode.Listener),
		tables:      newSet("route table", resource.RouteType, decode.RouteTable),
		clusters:    newSet("cluster", resource.ClusterType, decode.Cluster),
		resolved:    map[string]*config.Assignment{},
		assignments: newSet("assignment", resource.EndpointType, decode.Assignment),
		secrets:     newSet("secret", resource.SecretType, decode.SecretOf),
	}
	a.awaited.patience, a.awaited.expired = patience, a.endsWaiting(a.awaited.expire)
	a.hosts = newHosts(newSet("virtual host", resource.VirtualHostType, decode.VirtualHost), a.endsWaiting(a.stopWaiting))
	now := time.Now()
	err := errors.Join(
		a.listeners.addStatic(options.Listeners, now),
		a.clusters.addStatic(options.Clusters, now),
		a.secrets.addStatic(options.Secrets, now),
	)
	if err == nil {
		err = errors.Join(a.checkStatic(), duplicates(a.listeners.latest))
	}
	if err != nil {
		return nil, fmt.Errorf("static resources: %w", err)
	}
	// What never comes by itself is not waited for.
	a.listeners.answered = !options.DynamicListeners
	a.clusters.answered = !options.DynamicClusters
	return a, nil
}

// checkStatic finds references that nobody could ever answer.
func (a *Assembler) checkStatic() error {
	if a.options.Subscriber != nil {
		return nil
	}
	var problems []error
	for name, l := range a.listeners.latest {
		refs := referencesOf(l.value)
		for _, table := range refs.tables {
			problems = append(problems, fmt.Errorf("listener %q: route table %q: got no control plane to ask for it", name, table))
		}
		for _, secret := range refs.secrets {
			if a.secrets.latest[secret] == nil {
				problems = append(problems, fmt.Errorf("listener %q: secret %q: got neither a static one nor a control plane to ask for it", name, secret))
			}
		}
	}
	for name, c := range a.clusters.latest {
		if c.value.AssignmentName != "" {
			problems = append(problems, fmt.Errorf("cluster %q: got EDS, but no control plane to ask", name))
		}
		for _, secret := range secretsOf(c.value) {
			if a.secrets.latest[secret] == nil {
				problems = append(problems, fmt.Errorf("cluster %q: secret %q: got neither a static one nor a control plane to ask for it", name, secret))
			}
		}
	}
	return errors.Join(problems...)
}

// Start binds what is static, makes it run, and subscribes. The error is of a static listener.
func (a *Assembler) Start() error {
	a.turn.Lock()
	defer a.turn.Unlock()
	for _, l := range sortedEntries(a.listeners.latest) {
		if err := a.options.Bind(l.value); err != nil {
			return fmt.Errorf("static resources: %w", err)
		}
	}
	if a.options.DynamicClusters {
		a.options.Subscriber.SubscribeAll(resource.ClusterType)
	}
	if a.options.DynamicListeners {
		a.options.Subscriber.SubscribeAll(resource.ListenerType)
	}
	a.settle()
	if a.applied == nil && a.options.Subscriber == nil {
		return errors.New("static resources: the configuration could not be applied")
	}
	return nil
}

// Close ends the waiting. Nothing is applied after it.
func (a *Assembler) Close() {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.closed = true
	a.awaited.stop()
	a.hosts.waiting.stop()
}

// Ready is closed when the first complete configuration runs: all that the control plane listed first is there, or is
// known not to come. A proxy whose control plane never answered is not ready.
func (a *Assembler) Ready() <-chan struct{} { return a.ready }

// Update judges the resources of one response, and keeps the good ones. It implements client.Receiver.
func (a *Assembler) Update(u client.Update) map[string]error {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.mu.Lock()
	var refused map[string]error
	now := time.Now()
	switch u.TypeURL {
	case resource.ListenerType:
		refused = a.updateListeners(u, now)
	case resource.RouteType:
		refused = a.updateTables(u, now)
	case resource.VirtualHostType:
		refused = a.updateHosts(u, now)
	case resource.ClusterType:
		refused = a.updateClusters(u, now)
	case resource.EndpointType:
		refused = a.assignments.update(u, now, false)
		for _, r := range u.Resources {
			a.awaited.came(r.Name)
		}
	case resource.SecretType:
		refused = a.secrets.update(u, now, false)
	default:
		refused = map[string]error{}
		for _, r := range u.Resources {
			refused[r.Name] = fmt.Errorf("resource %q: got type %s, want one that was asked for", r.Name, u.TypeURL)
		}
	}
	a.mu.Unlock()
	a.settle()
	return refused
}

// Missing notes that a resource did not come: nothing waits for it any longer. It implements client.Receiver.
func (a *Assembler) Missing(typeURL, name string) {
	a.turn.Lock()
	defer a.turn.Unlock()
	a.mu.Lock()
	switch typeURL {
	case resource.ListenerType:
		// Without its listeners the proxy is not ready; there is nothing else to do about it.
	case resource.RouteType:
		a.tables.setMissing(name)
	case resource.VirtualHostType:
		// Each table waits by itself.
	case resource.ClusterType:
		// Listeners have waited for the first list of clusters.
		a.clusters.overdue = true
	case resource.EndpointType:
		a.assignments.setMissing(name)
	case resource.SecretType:
		a.secrets.setMissing(name)
	}
	a.mu.Unlock()
	a.settle()
}
