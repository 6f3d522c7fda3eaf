package srv

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/dns"
)

// question is a name and how it is asked for. Whoever wants the same shares the answers.
type question struct {
	name       string
	family     ir.Family
	respectTTL bool
	refresh    time.Duration
	// resolvers are joined by spaces, to be comparable; empty are the system's.
	resolvers string
}

func questionOf(d *ir.DNS, name string) question {
	var resolvers []string
	for _, a := range d.Resolvers {
		resolvers = append(resolvers, a.String())
	}
	return question{name: name, family: d.Family, respectTTL: d.RespectTTL, refresh: d.Refresh, resolvers: strings.Join(resolvers, " ")}
}

// String names what decides the answer.
func (q question) String() string { return fmt.Sprintf("%s %d %s", q.name, q.family, q.resolvers) }

// lookup is a name that is kept up to date. Guarded by Resolver.mu, but for the first two.
type lookup struct {
	question question
	cancel   context.CancelFunc
	// settled: an answer, a failure, or nothing for too long has come; or an answer was kept.
	settled bool
	// known are the last servers, in order.
	known []Server
	// fault is what is wrong with the newest answer; "" is nothing.
	fault string
}

// answer is what came of one lookup.
type answer struct {
	servers []Server
	// ttl is how long it holds; 0 is not known.
	ttl time.Duration
	// fault is why there are no servers, or not all.
	fault string
}

// errNoRecords is of a name that does not exist, has no SRV records, or says that there is no such service.
var errNoRecords = errors.New("the name has no SRV records")

// run looks a name up again and again.
func (r *Resolver) run(ctx context.Context, l *lookup) {
	var failing time.Duration
	for {
		a := r.ask(ctx, l)
		if ctx.Err() != nil {
			return
		}
		r.take(l, a)
		// What is partly known holds as long as its TTL says, at most: the rest may come any time.
		pause := l.question.rest(a.ttl)
		switch failing = min(max(2*failing, failureBase), failureMax); {
		case a.fault == "":
			failing = 0
		case len(a.servers) == 0:
			pause = failing
		default:
			pause = min(pause, failing)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// rest is how long an answer may be used.
func (q *question) rest(ttl time.Duration) time.Duration {
	if q.respectTTL && ttl > 0 {
		return max(ttl, leastRefresh)
	}
	return max(q.refresh, leastRefresh)
}

// ask looks a name up, and then its targets.
func (r *Resolver) ask(ctx context.Context, l *lookup) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	q := &l.question
	var records []dns.Service
	var err error
	if !r.slot(ctx, func() {
		records, a.ttl, err = r.options.Asker.Services(ctx, q.name, strings.Fields(q.resolvers))
	}) {
		err = ctx.Err()
	}
	if err == nil && len(records) == 0 {
		err = errNoRecords
	}
	if err != nil {
		return answer{fault: err.Error()}
	}
	addresses, ttl, fault := r.addresses(ctx, q, records)
	if a.fault = fault; ttl > 0 {
		a.ttl = min(a.ttl, ttl)
	}
	r.mu.Lock()
	before := l.known
	r.mu.Unlock()
	byPriority := func(a, b dns.Service) int { return cmp.Compare(a.Priority, b.Priority) }
	for _, record := range slices.SortedStableFunc(slices.Values(records), byPriority) {
		found := addresses[record.Target]
		if len(found) == 0 { // it keeps what it had
			for _, s := range before {
				if s.Target == record.Target && !slices.Contains(found, s.Address.Addr()) {
					found = append(found, s.Address.Addr())
				}
			}
		}
		for _, ip := range found {
			s := Server{Target: record.Target, Address: netip.AddrPortFrom(ip, record.Port), Priority: record.Priority, Weight: record.Weight}
			a.servers = append(a.servers, s)
		}
	}
	if n := len(a.servers); n > maxServers {
		a.servers, a.fault = a.servers[:maxServers], fmt.Sprintf("got %d servers, of which %d are used", n, maxServers)
	}
	slices.SortFunc(a.servers, compareServers)
	return a
}

// addresses are those of each target, and the least TTL of all.
func (r *Resolver) addresses(ctx context.Context, q *question, records []dns.Service) (found map[string][]netip.Addr, ttl time.Duration, fault string) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var faults []string
	found = map[string][]netip.Addr{}
	begun := map[string]bool{}
	for _, record := range records {
		if begun[record.Target] {
			continue
		}
		begun[record.Target] = true
		wg.Go(func() {
			var replies [dns.Families]dns.Reply
			asked := r.slot(ctx, func() {
				replies = r.options.Asker.Addresses(ctx, record.Target, q.wants(), strings.Fields(q.resolvers))
			})
			err := errors.Join(replies[dns.V4].Err, replies[dns.V6].Err)
			if !asked {
				err = ctx.Err()
			} else if err == nil {
				err = errors.New("the name has no addresses")
			}
			mu.Lock()
			defer mu.Unlock()
			if found[record.Target] = q.pick(replies); len(found[record.Target]) == 0 {
				faults = append(faults, fmt.Sprintf("target %s: %v", record.Target, err))
			}
			for _, reply := range replies {
				if reply.TTL > 0 && (ttl == 0 || reply.TTL < ttl) {
					ttl = reply.TTL
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(faults)
	const most = 3
	if n := len(faults); n > most {
		faults = append(faults[:most], fmt.Sprintf("and %d more", n-most))
	}
	return found, ttl, strings.ReplaceAll(strings.Join(faults, "; "), "\n", ", ")
}

// slot does something when not too much of it is under way; false is that the time was over before.
func (r *Resolver) slot(ctx context.Context, do func()) bool {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-r.slots }()
	do()
	return true
}

func compareServers(a, b Server) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Target, b.Target), a.Address.Compare(b.Address))
}

// take keeps what is known. A name that has no servers any more is one that does not resolve: it keeps those that it had,
// be it an error or an empty answer, for broken zones and orchestrators bring both about.
func (r *Resolver) take(l *lookup, a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := *l // of the first answer there is a fault, or there are servers: either is news
	l.settled, l.fault = true, a.fault
	if len(a.servers) > 0 {
		l.known = a.servers
		r.good++
	} else {
		r.failed++
	}
	log := r.options.Logger.With("name", l.question.name, "servers", len(l.known))
	switch {
	case a.fault != "" && a.fault != was.fault:
		log.Warn("SRV records do not resolve: the last servers are kept", "error", a.fault)
	case a.fault == "" && was.fault != "":
		log.Info("SRV records resolve again")
	}
	if was.fault != a.fault || !slices.Equal(was.known, l.known) {
		r.tell()
	}
}

// Keep is what is known of each name, to be kept for a restart.
func (r *Resolver) Keep() map[string][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string][]byte{}
	for q, l := range r.lookups {
		if text, err := json.Marshal(l.known); err == nil && len(l.known) > 0 {
			out[q.String()] = text
		}
	}
	return out
}

func readKept(kept map[string][]byte, log *slog.Logger) map[string][]Server {
	out := map[string][]Server{}
	for name, text := range kept {
		var servers []Server
		if err := json.Unmarshal(text, &servers); err != nil {
			log.Warn("what was kept of SRV records cannot be read", "name", name, "error", err)
			continue
		}
		if len(servers) > 0 {
			out[name] = servers[:min(len(servers), maxServers)]
		}
	}
	return out
}
