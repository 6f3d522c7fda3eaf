package resolve

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dns"
)

// question is a name and how it is asked for. Whoever wants the same shares the answers.
type question struct {
	host                        string
	first                       bool
	family                      config.Family
	respectTTL                  bool
	refresh, minRefresh, jitter time.Duration
	failureBase, failureMax     time.Duration
	// resolvers are joined by spaces, to be comparable; empty are the system's.
	resolvers string
}

func questionOf(d *config.DNS, host string) question {
	var resolvers []string
	for _, a := range d.Resolvers {
		resolvers = append(resolvers, a.String())
	}
	return question{
		host: host, first: d.First, family: d.Family, respectTTL: d.RespectTTL, refresh: d.Refresh, minRefresh: d.MinRefresh, jitter: d.Jitter,
		failureBase: d.FailureBase, failureMax: d.FailureMax, resolvers: strings.Join(resolvers, " "),
	}
}

// wants tells which families are asked for.
func (q *question) wants() (want [dns.Families]bool) {
	want[dns.V4] = q.family != config.FamilyIPv6
	want[dns.V6] = q.family != config.FamilyIPv4
	return want
}

var errNoAddresses = errors.New("the name has no addresses")

// lookup is a name that is kept up to date. Guarded by Resolver.mu, but for the first two.
type lookup struct {
	question question
	cancel   context.CancelFunc
	// settled: an answer or a failure has come.
	settled bool
	// known are the last addresses of each family.
	known                 [dns.Families][]netip.Addr
	resolutions, failures int64
	answered              time.Time
	// failing: the last time there was no answer.
	failing bool
}

// addresses are those that count: of the family that is preferred, or of both; or the first of the newest answer.
func (l *lookup) addresses() []netip.Addr {
	var out []netip.Addr
	switch l.question.family {
	case config.FamilyPreferIPv6:
		if out = l.known[dns.V6]; len(out) == 0 {
			out = l.known[dns.V4]
		}
	case config.FamilyPreferIPv4:
		if out = l.known[dns.V4]; len(out) == 0 {
			out = l.known[dns.V6]
		}
	default:
		out = slices.Concat(l.known[dns.V4], l.known[dns.V6])
	}
	if l.question.first {
		return out[:min(1, len(out))]
	}
	// Servers turn the order around with each answer: that is no change.
	out = slices.Clone(out)
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// run looks a name up again and again.
func (r *Resolver) run(ctx context.Context, l *lookup) {
	var wait time.Duration
	for {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		replies := r.ask(ctx, l.question)
		<-r.slots
		if ctx.Err() != nil {
			return
		}
		good, fixed := r.take(l, replies)
		switch {
		case good && fixed:
			<-ctx.Done()
			return
		case good:
			wait = l.question.rest(replies)
		default:
			wait = min(max(2*wait, l.question.failureBase), l.question.failureMax)
		}
		pause := wait
		if l.question.jitter > 0 {
			pause += rand.N(l.question.jitter)
		}
		if !good {
			// The next failure doubles what was before it, and a good answer begins anew.
			r.options.Logger.Debug("a name was not resolved", "name", l.question.host, "again_in", pause)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		if good {
			wait = 0
		}
	}
}

// take keeps what is known, and tells whether there was an answer. A name that has no addresses any more is one that does
// not resolve: it keeps those that it had. One family may go while the other stays.
func (r *Resolver) take(l *lookup, replies [dns.Families]dns.Reply) (good, fixed bool) {
	var why error
	for _, one := range replies {
		good = good || len(one.Addresses) > 0
		fixed = fixed || one.Fixed
		if one.Err != nil {
			why = one.Err
		}
	}
	if !good && why == nil {
		why = errNoAddresses
	}
	r.mu.Lock()
	was, fresh := l.addresses(), !l.settled
	news := good == l.failing
	l.settled, l.failing = true, !good
	if good {
		l.resolutions++
		l.answered = time.Now()
		for i, one := range replies {
			if one.Err == nil {
				l.known[i] = one.Addresses
			}
		}
	} else {
		l.failures++
	}
	changed := fresh || !slices.Equal(was, l.addresses())
	r.mu.Unlock()
	switch {
	case news && !good:
		r.options.Logger.Warn("a name does not resolve: its last addresses are kept", "name", l.question.host, "error", why,
			"addresses", len(was))
	case news && good && !fresh:
		r.options.Logger.Info("a name resolves again", "name", l.question.host)
	}
	if changed {
		r.options.Changed()
	}
	return good, fixed
}

// rest is how long answers may be used.
func (q *question) rest(replies [dns.Families]dns.Reply) time.Duration {
	wait := q.refresh
	if q.respectTTL {
		var least time.Duration
		for _, one := range replies {
			if one.TTL > 0 && (least == 0 || one.TTL < least) {
				least = one.TTL
			}
		}
		if least > 0 {
			wait = least
		}
	}
	return max(wait, q.minRefresh, leastRefresh)
}

// leastRefresh keeps a server from being asked without a pause; TTLs are in whole seconds.
const leastRefresh = 100 * time.Millisecond
