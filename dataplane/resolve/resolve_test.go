package resolve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// zone answers what a test says, and counts.
type zone struct {
	mu      sync.Mutex
	replies map[string][dns.Families]dns.Reply
	asked   map[string]int
	busy    int
	most    int
	delay   time.Duration
}

func (z *zone) ask(ctx context.Context, q question) [dns.Families]dns.Reply {
	z.mu.Lock()
	z.asked[q.host]++
	z.busy++
	z.most = max(z.most, z.busy)
	delay := z.delay
	z.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.busy--
	return z.replies[q.host]
}

func (z *zone) set(host string, four, six dns.Reply) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.replies[host] = [dns.Families]dns.Reply{dns.V4: four, dns.V6: six}
}

func (z *zone) count(host string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[host]
}

func found(ttl time.Duration, list ...string) dns.Reply {
	r := dns.Reply{TTL: ttl}
	for _, a := range list {
		r.Addresses = append(r.Addresses, netip.MustParseAddr(a))
	}
	return r
}

var failed = dns.Reply{Err: errors.New("no answer")}

// spec asks for both families, respects TTLs, else asks every 5 s, and backs off from 1 s to 4 s.
func spec(hosts ...string) *config.DNS {
	d := &config.DNS{Family: config.FamilyBoth, RespectTTL: true, Refresh: 5 * time.Second, FailureBase: time.Second, FailureMax: 4 * time.Second}
	for _, h := range hosts {
		d.Names = append(d.Names, config.NamedEndpoint{Host: h, Port: 80, Weight: 2})
	}
	return d
}

// bubble runs a test in a synctest bubble, with a Resolver whose names are the zone's.
func bubble(t *testing.T, run func(t *testing.T, z *zone, r *Resolver, changed *int)) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{replies: map[string][dns.Families]dns.Reply{}, asked: map[string]int{}}
		changed := 0
		var mu sync.Mutex
		r := New(Options{Logger: slog.New(slog.DiscardHandler), Changed: func() { mu.Lock(); defer mu.Unlock(); changed++ }})
		r.ask = z.ask
		defer r.Close()
		run(t, z, r, &changed)
	})
}

func endpoints(t *testing.T, r *Resolver, d *config.DNS) string {
	t.Helper()
	list, ok := r.Endpoints(d)
	if !ok {
		return "nothing yet"
	}
	var out []string
	for _, e := range list {
		out = append(out, fmt.Sprintf("%s*%d", e.Address, e.Weight))
		if e.Hostname == "" {
			t.Errorf("%v has no name", e)
		}
	}
	return strings.Join(out, " ")
}

func want(t *testing.T, r *Resolver, d *config.DNS, want string) {
	t.Helper()
	synctest.Wait()
	if got := endpoints(t, r, d); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPlaces: where a name is, and how it does, is said of each of its addresses.
func TestPlaces(t *testing.T) {
	bubble(t, func(t *testing.T, z *zone, r *Resolver, _ *int) {
		d := spec("a")
		n := &d.Names[0]
		n.Priority, n.Locality, n.LocalityWeight, n.Draining, n.Unhealthy = 3, config.Locality{Zone: "z"}, 7, true, true
		z.set("a", found(time.Minute, "10.0.0.1", "10.0.0.2"), dns.Reply{})
		r.Watch([]*config.DNS{d})
		synctest.Wait()
		list, _ := r.Endpoints(d)
		for _, e := range list {
			if e.Priority != 3 || e.Locality.Zone != "z" || e.LocalityWeight != 7 || !e.Draining || !e.Unhealthy {
				t.Errorf("got %+v", e)
			}
		}
		if len(list) != 2 {
			t.Errorf("got %d endpoints, want 2", len(list))
		}
	})
}

// TestTTL: a name is asked for again when its answer is over, and not before.
func TestTTL(t *testing.T) {
	bubble(t, func(t *testing.T, z *zone, r *Resolver, changed *int) {
		d := spec("a")
		z.set("a", found(30*time.Second, "10.0.0.2", "10.0.0.1"), found(20*time.Second, "2001:db8::1"))
		r.Watch([]*config.DNS{d})
		want(t, r, d, "10.0.0.1:80*2 10.0.0.2:80*2 [2001:db8::1]:80*2")
		z.set("a", found(0, "10.0.0.1", "10.0.0.2"), dns.Reply{})
		time.Sleep(20*time.Second - time.Millisecond)
		want(t, r, d, "10.0.0.1:80*2 10.0.0.2:80*2 [2001:db8::1]:80*2")
		time.Sleep(2 * time.Millisecond)
		want(t, r, d, "10.0.0.1:80*2 10.0.0.2:80*2")
		if *changed != 2 {
			t.Errorf("told of %d changes, want 2", *changed)
		}
		// Without a TTL: the interval. The same in another order is no change.
		z.set("a", found(0, "10.0.0.2", "10.0.0.1"), dns.Reply{})
		time.Sleep(5 * time.Second)
		want(t, r, d, "10.0.0.1:80*2 10.0.0.2:80*2")
		if n := z.count("a"); n != 3 || *changed != 2 {
			t.Errorf("asked %d times, told of %d changes, want 3 and 2", n, *changed)
		}
		names := r.Names()
		if len(names) != 1 || names[0].Host != "a" || names[0].Resolutions != 3 || names[0].Failures != 0 || time.Since(names[0].Answered) != time.Millisecond {
			t.Errorf("got %+v", names)
		}
	})
}

// TestRespectTTL: where TTLs do not count, the interval does, and never less than the minimum.
func TestRespectTTL(t *testing.T) {
	bubble(t, func(t *testing.T, z *zone, r *Resolver, _ *int) {
		ignores, slow := spec("a"), spec("b")
		ignores.RespectTTL = false
		slow.MinRefresh = 10 * time.Second
		z.set("a", found(time.Second, "10.0.0.1"), dns.Reply{})
		z.set("b", found(time.Second, "10.0.0.1"), dns.Reply{})
		r.Watch([]*config.DNS{ignores, slow})
		time.Sleep(29 * time.Second)
		synctest.Wait()
		if a, b := z.count("a"), z.count("b"); a != 6 || b != 3 {
			t.Errorf("asked %d and %d times, want 6 and 3", a, b)
		}
	})
}

// TestFailures: the last addresses stay, and asking backs off.
func TestFailures(t *testing.T) {
	bubble(t, func(t *testing.T, z *zone, r *Resolver, changed *int) {
		d := spec("a")
		z.set("a", found(time.Second, "10.0.0.1"), found(time.Second, "2001:db8::1"))
		r.Watch([]*config.DNS{d})
		want(t, r, d, "10.0.0.1:80*2 [2001:db8::1]:80*2")
		for _, bad := range []dns.Reply{failed, {}} { // no answer; no addresses
			z.set("a", bad, bad)
			before := z.count("a")
			time.Sleep(time.Second + 500*time.Millisecond) // asked at 1
			want(t, r, d, "10.0.0.1:80*2 [2001:db8::1]:80*2")
			time.Sleep(15 * time.Second) // at 2, 4, 8, 12, 16
			want(t, r, d, "10.0.0.1:80*2 [2001:db8::1]:80*2")
			if n := z.count("a") - before; n != 6 {
				t.Errorf("asked %d times, want 6", n)
			}
			z.set("a", found(time.Second, "10.0.0.1"), found(time.Second, "2001:db8::1"))
			time.Sleep(4 * time.Second)
		}
		// One family fails: the other is taken, and what was known of that one stays. One that has none any more goes.
		z.set("a", failed, found(time.Second, "2001:db8::2"))
		time.Sleep(time.Second)
		want(t, r, d, "10.0.0.1:80*2 [2001:db8::2]:80*2")
		z.set("a", dns.Reply{}, found(time.Second, "2001:db8::2"))
		time.Sleep(time.Second)
		want(t, r, d, "[2001:db8::2]:80*2")
	})
}

// TestFirstAnswer: who waits is told of a failure too.
func TestFirstAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, z *zone, r *Resolver, changed *int) {
		d := spec("slow", "bad")
		z.delay = time.Second
		z.set("slow", found(time.Minute, "10.0.0.1"), dns.Reply{})
		z.set("bad", failed, failed)
		r.Watch([]*config.DNS{d})
		want(t, r, d, "nothing yet")
		time.Sleep(time.Second)
		want(t, r, d, "10.0.0.1:80*2")
		if *changed != 2 {
			t.Errorf("told of %d changes, want 2", *changed)
		}
	})
}

// TestFirstAddress: the first of the newest answer.
func TestFirstAddress(t *testing.T) {
	bubble(t, func(t *testing.T, z *zone, r *Resolver, _ *int) {
		d := spec("a")
		d.First = true
		z.set("a", found(time.Second, "10.0.0.2", "10.0.0.1"), dns.Reply{})
		r.Watch([]*config.DNS{d})
		want(t, r, d, "10.0.0.2:80*2")
		z.set("a", found(time.Second, "10.0.0.1", "10.0.0.2"), dns.Reply{})
		time.Sleep(time.Second)
		want(t, r, d, "10.0.0.1:80*2")
	})
}

// TestFamilies: which addresses count.
func TestFamilies(t *testing.T) {
	const four, six = "10.0.0.1", "2001:db8::1"
	for _, c := range []struct {
		family config.Family
		has    []string
		want   string
	}{
		{config.FamilyBoth, []string{four, six}, "10.0.0.1:80*2 [2001:db8::1]:80*2"},
		{config.FamilyPreferIPv4, []string{four, six}, "10.0.0.1:80*2"},
		{config.FamilyPreferIPv4, []string{six}, "[2001:db8::1]:80*2"},
		{config.FamilyPreferIPv6, []string{four, six}, "[2001:db8::1]:80*2"},
		{config.FamilyPreferIPv6, []string{four}, "10.0.0.1:80*2"},
	} {
		bubble(t, func(t *testing.T, z *zone, r *Resolver, _ *int) {
			d := spec("a")
			d.Family = c.family
			var replies [dns.Families]dns.Reply
			for _, a := range c.has {
				i := dns.V4
				if a == six {
					i = dns.V6
				}
				replies[i] = found(time.Minute, a)
			}
			z.set("a", replies[dns.V4], replies[dns.V6])
			r.Watch([]*config.DNS{d})
			want(t, r, d, c.want)
		})
	}
}

// TestShared: who wants a name that is known has its addresses at once; who wants it no more ends the asking.
func TestShared(t *testing.T) {
	bubble(t, func(t *testing.T, z *zone, r *Resolver, _ *int) {
		one, two := spec("a"), spec("a", "a")
		two.Names[1].Port = 81
		z.set("a", found(time.Minute, "10.0.0.1"), dns.Reply{})
		r.Watch([]*config.DNS{one})
		want(t, r, one, "10.0.0.1:80*2")
		z.set("a", failed, failed)
		r.Watch([]*config.DNS{two, one})
		r.Watch([]*config.DNS{two})
		want(t, r, two, "10.0.0.1:80*2 10.0.0.1:81*2")
		want(t, r, one, "nothing yet")
		r.Watch(nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := z.count("a"); n != 1 {
			t.Errorf("asked %d times, want once", n)
		}
	})
}

// TestManyNames: not all are asked for at once.
func TestManyNames(t *testing.T) {
	bubble(t, func(t *testing.T, z *zone, r *Resolver, _ *int) {
		var hosts []string
		for i := range 10 * maxQueries {
			host := fmt.Sprintf("h%d", i)
			hosts = append(hosts, host)
			z.set(host, found(time.Hour, "10.0.0.1"), dns.Reply{})
		}
		z.delay = time.Second
		d := spec(hosts...)
		r.Watch([]*config.DNS{d})
		time.Sleep(10 * time.Second)
		want(t, r, d, "10.0.0.1:80*2")
		if z.most != maxQueries {
			t.Errorf("%d were asked for at once, want %d", z.most, maxQueries)
		}
		if names := r.Names(); len(names) != len(hosts) || !slices.IsSortedFunc(names, func(a, b Name) int { return strings.Compare(a.Host, b.Host) }) {
			t.Errorf("got %d names, want %d, sorted", len(names), len(hosts))
		}
	})
}
