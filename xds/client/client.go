// Package client speaks xDS to a control plane over one aggregated stream, in the incremental (delta) or the
// state-of-the-world form: subscriptions, versions, nonces, ACKs and NACKs, reconnects, time-outs.
//
// In: a Transport that opens streams, and which resources are wanted (Subscribe). Out: calls of a Receiver, which
// judges what came. It must not know what a resource means, nor what refers to what: it sees names, versions and bytes.
//
// The state of a type says when it ends: what belongs to a stream is reset with it; what was accepted outlives it.
package client

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// Wildcard stands for "all resources of the type" where a Receiver is told that nothing came (Missing).
const Wildcard = "*"

// Options configure a Client.
type Options struct {
	// Node is sent on the first request of each stream. New adds the client features of this package to a copy.
	Node *corepb.Node
	// Transport opens streams.
	Transport Transport
	// StateOfTheWorld speaks the older form instead of delta.
	StateOfTheWorld bool
	// Name reads the name inside a resource.
	Name func(*anypb.Any) (string, error)
	// BackoffBase and BackoffMax bound the pause between attempts: the n-th is random in [0, min(Max, Base·2ⁿ)). 0 is
	// 500 ms and 30 s, as Envoy has it.
	BackoffBase, BackoffMax time.Duration
	// ConnectTimeout bounds the opening of a stream. 0 is 5 s.
	ConnectTimeout time.Duration
	// MissingAfter is how long a resource may take after it was asked for. 0 is 15 s.
	MissingAfter time.Duration
	// Fallback, if not nil, is asked at the end of each stream, and of each attempt at one, what to go on with meanwhile:
	// resources of an earlier run, in an order in which what refers comes after what refers to it is asked for. It is
	// handed over once, and Fallback not asked again. nil is nothing (yet).
	Fallback func() []Update
	// FallbackAfter is how long the control plane may be silent until Fallback is asked. 0 is 500 ms.
	FallbackAfter time.Duration
	Logger        *slog.Logger
}

// Resource is one resource as it came.
type Resource struct {
	Name, Version string
	Body          *anypb.Any
}

// Update is what one response says, or what a TTL ended.
type Update struct {
	TypeURL string
	// Version is the response's: for people.
	Version string
	// Resources are new or changed, each name once.
	Resources []Resource
	// Removed are names that the control plane says do not exist. In state-of-the-world they follow from absence, and
	// only for types whose responses are the full state.
	Removed []string
	// Expired: Removed are resources whose TTL ended, without a word of the control plane.
	Expired bool
}

// Receiver judges and keeps resources. It is called from the goroutine of Run alone, and may call Subscribe.
type Receiver interface {
	// Update returns the resources that it refuses, by name, with the reason. All others count as accepted.
	Update(Update) map[string]error
	// Missing tells that a resource did not come within MissingAfter; name is Wildcard if no response came for a type
	// that is wanted as a whole. It may still come.
	Missing(typeURL, name string)
}

// Stats are for metrics.
type Stats struct {
	Connected bool
	// FallenBack: the resources are an earlier run's, and no control plane has answered since.
	FallenBack bool
	// Updates and Rejects count responses that were ACKed and NACKed, by short type name: LDS, RDS, ….
	Updates, Rejects map[string]int64
}

// Client is one control-plane connection. Subscribe may be called before Run.
type Client struct {
	// Read-only after New.
	options Options

	// wake tells the run goroutine that subscriptions changed.
	wake chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	wanted map[string]*subscription
	stats  Stats

	// Only the run goroutine.
	receiver Receiver
	types    map[string]*typeState
	lastLog  string
	// heard tells that the control plane has answered something, once at least; hurried that a stream has been hurried.
	heard, hurried bool
}

// New makes a Client. It panics on a nil Transport, Node or Name: a mistake of the caller's.
func New(options Options) *Client {
	if options.Transport == nil || options.Node == nil || options.Name == nil {
		panic("xds/client: Transport, Node and Name must be set")
	}
	if options.BackoffBase <= 0 {
		options.BackoffBase = 500 * time.Millisecond
	}
	if options.BackoffMax <= 0 {
		options.BackoffMax = 30 * time.Second
	}
	options.BackoffMax = max(options.BackoffMax, options.BackoffBase)
	if options.ConnectTimeout <= 0 {
		options.ConnectTimeout = 5 * time.Second
	}
	if options.MissingAfter <= 0 {
		options.MissingAfter = 15 * time.Second
	}
	if options.FallbackAfter <= 0 {
		options.FallbackAfter = 500 * time.Millisecond
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	options.Node = proto.CloneOf(options.Node)
	// https://www.envoyproxy.io/docs/envoy/latest/api/client_features
	options.Node.ClientFeatures = append(options.Node.ClientFeatures,
		"xds.config.supports-resource-ttl", "xds.config.resource-in-sotw")
	return &Client{
		options: options,
		wake:    make(chan struct{}, 1),
		wanted:  map[string]*subscription{},
		stats:   Stats{Updates: map[string]int64{}, Rejects: map[string]int64{}},
		types:   map[string]*typeState{},
	}
}

// Stats returns a copy.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Stats{Connected: c.stats.Connected, FallenBack: c.stats.FallenBack, Updates: map[string]int64{}, Rejects: map[string]int64{}}
	for k, v := range c.stats.Updates {
		s.Updates[k] = v
	}
	for k, v := range c.stats.Rejects {
		s.Rejects[k] = v
	}
	return s
}

// Run connects, and connects again, until ctx ends, whose error it returns. It is called once.
func (c *Client) Run(ctx context.Context, receiver Receiver) error {
	c.receiver = receiver
	for attempt := 0; ; attempt++ {
		served, err := c.session(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if served {
			attempt = 0
			c.lastLog = ""
		}
		c.fallBack()
		pause := c.backoff(attempt)
		c.logLost(err, pause)
		timer := time.NewTimer(pause)
		_, _ = wait(ctx, c, timer.C)
		timer.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// logLost tells each new reason once; a control plane that is away for a day does not fill the log.
func (c *Client) logLost(err error, pause time.Duration) {
	level := slog.LevelDebug
	if text := err.Error(); text != c.lastLog {
		c.lastLog, level = text, slog.LevelWarn
	}
	c.options.Logger.Log(context.Background(), level, "no control plane; what is configured stays", "error", err, "retry_in", pause)
}

// backoff is exponential with full jitter, as Envoy's JitteredExponentialBackOffStrategy.
func (c *Client) backoff(attempt int) time.Duration {
	limit := c.options.BackoffMax
	if attempt < 30 && c.options.BackoffBase<<attempt > 0 {
		limit = min(limit, c.options.BackoffBase<<attempt)
	}
	return rand.N(limit) + time.Nanosecond
}

// errStopped ends a wait.
var errStopped = errors.New("xds/client: stopped")

// wait returns what comes from a channel, while TTLs go on running out.
func wait[T any](ctx context.Context, c *Client, from <-chan T) (T, error) {
	for {
		timer := c.nextDeadline()
		select {
		case v := <-from:
			timer.Stop()
			return v, nil
		case <-timer.C:
			c.expire()
		case <-ctx.Done():
			timer.Stop()
			var zero T
			return zero, errStopped
		}
	}
}

// count notes a response for Stats.
func (c *Client) count(typeURL string, rejected bool) {
	short := typeURL
	if t, ok := resource.ByURL(typeURL); ok {
		short = t.Short
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.FallenBack = false
	if rejected {
		c.stats.Rejects[short]++
	} else {
		c.stats.Updates[short]++
	}
}

func (c *Client) setConnected(connected bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Connected = connected
}
