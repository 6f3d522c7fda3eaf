// Package srv keeps the servers that SRV records name (RFC 2782): stock Envoy looks none up, so the control plane does, and
// proxies of both kinds get endpoints.
//
// In: the fleets as they were compiled, and what was known before a restart. Out: the fleets with servers in the place of
// SRV names, word that they have changed, and what is wrong. It must not know documents, Envoy's types or streams.
package srv

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/dns"
)

const (
	// maxQueries is how many questions are out at once; others wait.
	maxQueries = 64
	// maxServers are taken of one name: of those that come first in order of priority.
	maxServers = 1000
	// settleWithin is how long a fleet waits for the first word of a new name before it is served without it.
	settleWithin = 6 * time.Second
	// lookupTime is for one lookup of a name, with its targets'.
	lookupTime = 30 * time.Second
	// holdOff is how long news are gathered: records of many names change together.
	holdOff = 100 * time.Millisecond
	// leastRefresh keeps name servers from a storm; failureBase and failureMax are the back-off while nothing is known.
	leastRefresh            = time.Second
	failureBase, failureMax = time.Second, 30 * time.Second
)

// Asker asks name servers. *dns.Client is one.
type Asker interface {
	Services(ctx context.Context, name string, resolvers []string) ([]dns.Service, time.Duration, error)
	Addresses(ctx context.Context, host string, want [dns.Families]bool, resolvers []string) [dns.Families]dns.Reply
}

// Options are a Resolver's.
type Options struct {
	// Asker is asked. Never nil.
	Asker Asker
	// Kept is what Resolver.Keep said before a restart: it is used until there are newer answers.
	Kept map[string][]byte
	// Logger hears of names that stop resolving, and that do again. Nil is slog's default.
	Logger *slog.Logger
}

// Server is one address of a target.
type Server struct {
	// Target is the host that the record names, without a dot at its end.
	Target   string         `json:"target"`
	Address  netip.AddrPort `json:"address"`
	Priority uint16         `json:"priority"`
	Weight   uint16         `json:"weight"`
}

// Resolver looks SRV names up, again and again. Any goroutine may call it.
type Resolver struct {
	options Options
	slots   chan struct{}
	changed chan struct{}
	ctx     context.Context
	quit    context.CancelFunc
	wg      sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	lookups map[question]*lookup
	kept    map[string][]Server // by question, until somebody asks it
	news    *time.Timer         // runs while news are gathered
	closed  bool
	// good and failed count lookups.
	good, failed uint64
}

// New makes a Resolver that looks nothing up yet. Close ends it.
func New(options Options) *Resolver {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	r := &Resolver{
		options: options, slots: make(chan struct{}, maxQueries), changed: make(chan struct{}, 1),
		lookups: map[question]*lookup{}, kept: readKept(options.Kept, options.Logger),
	}
	r.ctx, r.quit = context.WithCancel(context.Background())
	return r
}

// Changed has a value when Resolve would say something new.
func (r *Resolver) Changed() <-chan struct{} { return r.changed }

// Resolve puts servers in the place of the SRV names of all fleets that there are; a fleet without any is the same one
// afterwards. Names that are not among them any more are forgotten. waiting has the fleets with a name of which there has
// been no word yet: they are better left as they are served now, which takes settleWithin at most.
func (r *Resolver) Resolve(fleets []*ir.Fleet) (out []*ir.Fleet, waiting map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	used, waiting := map[question]bool{}, map[string]bool{}
	for _, f := range fleets {
		out = append(out, Expand(f, func(d *ir.DNS, name string) []Server {
			l := r.lookup(questionOf(d, name))
			used[l.question] = true
			if !l.settled {
				waiting[f.Name] = true
			}
			return l.known
		}))
	}
	for q, l := range r.lookups {
		if !used[q] {
			delete(r.lookups, q)
			l.cancel()
		}
	}
	clear(r.kept)
	return out, waiting
}

// lookup is that of a question, begun if there is none. Called with mu held.
func (r *Resolver) lookup(q question) *lookup {
	l := r.lookups[q]
	if l != nil {
		return l
	}
	var ctx context.Context
	l = &lookup{question: q}
	l.known, l.settled = r.kept[q.String()]
	ctx, l.cancel = context.WithCancel(r.ctx)
	r.lookups[q] = l
	if r.closed {
		l.cancel()
		return l
	}
	r.wg.Go(func() { r.run(ctx, l) })
	if !l.settled {
		r.wg.Go(func() { r.settle(ctx, l) })
	}
	return l
}

// settle lets nobody wait for a name for ever.
func (r *Resolver) settle(ctx context.Context, l *lookup) {
	select {
	case <-time.After(settleWithin):
	case <-ctx.Done():
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !l.settled {
		l.settled, l.fault = true, "there is no answer yet"
		r.tell()
	}
}

// tell says that something is new, a little later. Called with mu held.
func (r *Resolver) tell() {
	if r.news != nil || r.closed {
		return
	}
	r.news = time.AfterFunc(holdOff, func() {
		r.mu.Lock()
		r.news = nil
		r.mu.Unlock()
		select {
		case r.changed <- struct{}{}:
		default: // there is a value already
		}
	})
}

// Fault is why nothing new is known of a name, or of a target of it, and how many servers are; "" if all is well.
func (r *Resolver) Fault(d *ir.DNS, name string) (fault string, servers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lookups[questionOf(d, name)]
	if l == nil {
		return "", 0
	}
	return l.fault, len(l.known)
}

// Known are the servers of a name, if it is looked up already. It begins nothing.
func (r *Resolver) Known(d *ir.DNS, name string) (servers []Server, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lookups[questionOf(d, name)]
	if l == nil || !l.settled {
		return nil, false
	}
	return l.known, true
}

// Counts are the names that are looked up now, how many of them have a Fault, and how many lookups there were of each
// outcome.
func (r *Resolver) Counts() (names, faulty int, good, failed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lookups {
		if l.fault != "" {
			faulty++
		}
	}
	return len(r.lookups), faulty, r.good, r.failed
}

// Close ends all, and waits for it.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	if r.news != nil {
		r.news.Stop()
	}
	r.mu.Unlock()
	r.quit()
	r.wg.Wait()
}

// wants are the families of addresses that a question takes, and pick those of the replies that count.
func (q *question) wants() (want [dns.Families]bool) {
	want[dns.V4] = q.family != ir.FamilyIPv6
	want[dns.V6] = q.family != ir.FamilyIPv4
	return want
}

func (q *question) pick(replies [dns.Families]dns.Reply) []netip.Addr {
	if q.family == ir.FamilyPreferIPv4 && len(replies[dns.V4].Addresses) > 0 {
		return replies[dns.V4].Addresses
	}
	return slices.Concat(replies[dns.V4].Addresses, replies[dns.V6].Addresses)
}
