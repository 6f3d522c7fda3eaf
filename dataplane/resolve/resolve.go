// Package resolve keeps the addresses of names: it asks DNS (package dns) when an answer has grown old, backs off when none comes, and
// keeps the last addresses of a name that stops resolving.
//
// In: the names that are wanted (config.DNS), from time to time others. Out: endpoints, and word that they have changed.
// It must not know clusters, nor what endpoints are for.
//
// Answers are those of a recursive resolver that the system or the configuration names; /etc/hosts goes first.
package resolve

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dns"
)

// maxQueries is how many names are asked for at once; others wait.
const maxQueries = 64

// Options are a Resolver's.
type Options struct {
	// Changed tells that Endpoints say something new. It may call the Resolver. Never nil.
	Changed func()
	// ResolvConf and Hosts are files; empty are /etc/resolv.conf and /etc/hosts.
	ResolvConf, Hosts string
	// Logger hears of names that stop resolving, and that do again. Nil is slog's default.
	Logger *slog.Logger
}

// Resolver looks names up. Any goroutine may call it.
type Resolver struct {
	options Options
	// ask looks a name up once; tests have their own.
	ask   func(context.Context, question) [dns.Families]dns.Reply
	slots chan struct{}
	ctx   context.Context
	quit  context.CancelFunc
	wg    sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	watched map[*config.DNS][]*lookup
	lookups map[question]*lookup
	closed  bool
}

// New makes a Resolver that looks nothing up yet. Close ends it.
func New(options Options) *Resolver {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	r := &Resolver{
		options: options,
		slots:   make(chan struct{}, maxQueries),
		watched: map[*config.DNS][]*lookup{}, lookups: map[question]*lookup{},
	}
	r.ctx, r.quit = context.WithCancel(context.Background())
	client := &dns.Client{ResolvConf: options.ResolvConf, Hosts: options.Hosts}
	r.ask = func(ctx context.Context, q question) [dns.Families]dns.Reply {
		return client.Addresses(ctx, q.host, q.wants(), strings.Fields(q.resolvers))
	}
	return r
}

// Watch says whose names are wanted from now on. Names that were wanted before go on, with what is known of them.
func (r *Resolver) Watch(wanted []*config.DNS) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	next := make(map[*config.DNS][]*lookup, len(wanted))
	used := map[*lookup]bool{}
	for _, d := range wanted {
		if next[d] != nil {
			continue
		}
		list := r.watched[d]
		if list == nil {
			for _, n := range d.Names {
				list = append(list, r.lookup(questionOf(d, n.Host)))
			}
		}
		next[d] = list
		for _, l := range list {
			used[l] = true
		}
	}
	r.watched = next
	for q, l := range r.lookups {
		if !used[l] {
			delete(r.lookups, q)
			l.cancel()
		}
	}
}

// lookup is that of a question, begun if there is none. Called with mu held.
func (r *Resolver) lookup(q question) *lookup {
	l := r.lookups[q]
	if l == nil {
		l = &lookup{question: q}
		var ctx context.Context
		ctx, l.cancel = context.WithCancel(r.ctx)
		r.lookups[q] = l
		r.wg.Go(func() { r.run(ctx, l) })
	}
	return l
}

// Endpoints are those of who is watched: each address once, in the order of the names. False: some name has had neither an
// answer nor a failure yet.
func (r *Resolver) Endpoints(d *config.DNS) ([]config.Endpoint, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, ok := r.watched[d]
	if !ok {
		return nil, false
	}
	var out []config.Endpoint
	seen := map[netip.AddrPort]bool{}
	for i, l := range list {
		if !l.settled {
			return nil, false
		}
		n := &d.Names[i]
		for _, ip := range l.addresses() {
			address := netip.AddrPortFrom(ip, n.Port)
			if !seen[address] {
				seen[address] = true
				out = append(out, config.Endpoint{
					Address: config.At(address), Weight: n.Weight, HashKey: n.HashKey, Hostname: n.Host,
					Priority: n.Priority, Locality: n.Locality, LocalityWeight: n.LocalityWeight, Unhealthy: n.Unhealthy, Draining: n.Draining,
				})
			}
		}
	}
	return out, true
}

// Close ends all, and waits for it.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.quit()
	r.wg.Wait()
}

// Name is how a name has done.
type Name struct {
	Host string
	// Resolutions and Failures are since it was first wanted; Answered is when the last good answer came, zero if none has.
	Resolutions, Failures int64
	Answered              time.Time
}

// Names are all that are wanted, sorted. A name that is looked up in several ways is counted together; its answer is the
// oldest.
func (r *Resolver) Names() []Name {
	r.mu.Lock()
	byHost := map[string]*Name{}
	for q, l := range r.lookups {
		n := byHost[q.host]
		if n == nil {
			n = &Name{Host: q.host, Answered: l.answered}
			byHost[q.host] = n
		}
		n.Resolutions += l.resolutions
		n.Failures += l.failures
		if l.answered.Before(n.Answered) {
			n.Answered = l.answered
		}
	}
	r.mu.Unlock()
	out := make([]Name, 0, len(byHost))
	for _, n := range byHost {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b Name) int {
		if a.Host < b.Host {
			return -1
		}
		return 1
	})
	return out
}
