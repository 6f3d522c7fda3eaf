package srv

import (
	"bytes"
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

	"github.com/sluice-proxy/sluice/controlplane/ir"
	"github.com/sluice-proxy/sluice/dns"
)

// zone is an Asker. A name that it does not have has no records, and no addresses.
type zone struct {
	mu      sync.Mutex
	records map[string][]dns.Service
	hosts   map[string][]netip.Addr
	faults  map[string]error
	silent  map[string]bool
	// ttl is that of records, hostTTL that of addresses.
	ttl, hostTTL time.Duration
	asked        map[string]int
}

func newZone() *zone {
	return &zone{
		records: map[string][]dns.Service{}, hosts: map[string][]netip.Addr{}, faults: map[string]error{}, silent: map[string]bool{},
		ttl: 5 * time.Second, hostTTL: 5 * time.Second, asked: map[string]int{},
	}
}

// edit changes what is answered.
func (z *zone) edit(change func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	change()
}

func (z *zone) ask(ctx context.Context, name string) error {
	z.mu.Lock()
	z.asked[name]++
	silent, err := z.silent[name], z.faults[name]
	z.mu.Unlock()
	if silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (z *zone) Services(ctx context.Context, name string, _ []string) ([]dns.Service, time.Duration, error) {
	if err := z.ask(ctx, name); err != nil {
		return nil, 0, err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.records[name]), z.ttl, nil
}

func (z *zone) Addresses(ctx context.Context, host string, want [dns.Families]bool, _ []string) (out [dns.Families]dns.Reply) {
	err := z.ask(ctx, host)
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, ip := range z.hosts[host] {
		i := dns.V4
		if ip.Is6() {
			i = dns.V6
		}
		if want[i] && err == nil {
			out[i].Addresses, out[i].TTL = append(out[i].Addresses, ip), z.hostTTL
		}
	}
	out[dns.V4].Err = err
	return out
}

// count is how often a name has been asked for.
func (z *zone) count(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[name]
}

func ips(texts ...string) (out []netip.Addr) {
	for _, text := range texts {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// bench is a Resolver over a zone, in synctest's time.
type bench struct {
	t *testing.T
	*zone
	*Resolver
	fleets []*ir.Fleet
	log    bytes.Buffer
}

func onBench(t *testing.T, kept map[string][]byte, do func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, zone: newZone()}
		b.Resolver = New(Options{Asker: b.zone, Kept: kept, Logger: slog.New(slog.NewTextHandler(&b.log, nil))})
		defer b.Close()
		do(b)
	})
}

// want lets a fleet use a name, looked up by TTL.
func (b *bench) want(fleet, name string, d ir.DNS) {
	if d.Refresh == 0 {
		d.Refresh, d.RespectTTL = 7*time.Second, true
	}
	b.fleets = append(b.fleets, &ir.Fleet{Name: fleet, Clusters: []*ir.Cluster{{
		Name: "s", SRV: &d, Endpoints: []ir.Endpoint{{Address: ir.Address{Records: name}, Weight: 1}},
	}}})
}

// is compares the servers of the fleets, "waits" for one that waits.
func (b *bench) is(want ...string) {
	b.t.Helper()
	fleets, waiting := b.Resolve(b.fleets)
	var got []string
	for _, f := range fleets {
		var one []string
		for _, e := range f.Clusters[0].Endpoints {
			one = append(one, e.Address.String())
		}
		if waiting[f.Name] {
			one = append(one, "waits")
		}
		got = append(got, strings.Join(one, " "))
	}
	if g, w := fmt.Sprintf("%q", got), fmt.Sprintf("%q", want); g != w {
		b.t.Errorf("got %s, want %s\n%s", g, w, &b.log)
	}
}

// fault compares what is wrong with the first fleet's name.
func (b *bench) fault(want string) {
	b.t.Helper()
	c := b.fleets[0].Clusters[0]
	if got, _ := b.Fault(c.SRV, c.Endpoints[0].Address.Records); got != want {
		b.t.Errorf("got the fault %q, want %q", got, want)
	}
}

// changes waits for news, and says how long that took.
func (b *bench) changes() time.Duration {
	b.t.Helper()
	start := time.Now()
	select {
	case <-b.Changed():
	case <-time.After(time.Hour):
		b.t.Fatalf("got no news within an hour\n%s", &b.log)
	}
	return time.Since(start)
}

func (b *bench) quiet(d time.Duration) {
	b.t.Helper()
	select {
	case <-b.Changed():
		b.t.Errorf("got news, want none for %v\n%s", d, &b.log)
	case <-time.After(d):
	}
}

const http = "_http._tcp.app.test"

func (b *bench) fill() {
	b.records[http] = []dns.Service{{Target: "b.app.test", Port: 81, Priority: 2, Weight: 1}, {Target: "a.app.test", Port: 80, Priority: 1, Weight: 1}}
	b.hosts["a.app.test"], b.hosts["b.app.test"] = ips("10.0.0.1"), ips("10.0.0.2")
}

func TestAnswersAndChanges(t *testing.T) {
	onBench(t, nil, func(b *bench) {
		b.fill()
		b.want("edge", http, ir.DNS{})
		b.is("waits")
		if took := b.changes(); took > time.Second {
			t.Errorf("the first answer took %v", took)
		}
		b.is("10.0.0.1:80 10.0.0.2:81")
		b.quiet(time.Minute) // the same answers are no news
		if n := b.count(http); n < 12 || n > 14 {
			t.Errorf("asked %d times in a minute, want each 5 s", n)
		}
		b.edit(func() { b.hosts["a.app.test"] = ips("10.0.0.4", "10.0.0.3") })
		if took := b.changes(); took > 6*time.Second {
			t.Errorf("another address took %v, want what its TTL says", took)
		}
		b.is("10.0.0.3:80 10.0.0.4:80 10.0.0.2:81")
		b.edit(func() { b.records[http] = b.records[http][:1] })
		b.changes()
		b.is("10.0.0.2:81")
		b.fault("")
		if names, faulty, good, failed := b.Counts(); names != 1 || faulty != 0 || good < 14 || failed != 0 {
			t.Errorf("got %d names, %d faulty, %d good, %d failed", names, faulty, good, failed)
		}
	})
}

func TestLastServersAreKept(t *testing.T) {
	for what, c := range map[string]struct {
		change func(b *bench)
		fault  string
	}{
		"no such name":          {func(b *bench) { delete(b.records, http) }, errNoRecords.Error()},
		"the server fails":      {func(b *bench) { b.faults[http] = errors.New("SERVFAIL") }, "SERVFAIL"},
		"nothing comes":         {func(b *bench) { b.silent[http] = true }, "context deadline exceeded"},
		"a target fails":        {func(b *bench) { b.faults["a.app.test"] = errors.New("SERVFAIL") }, "target a.app.test: SERVFAIL"},
		"a target is gone":      {func(b *bench) { delete(b.hosts, "a.app.test") }, "target a.app.test: the name has no addresses"},
		"a target says nothing": {func(b *bench) { b.silent["a.app.test"] = true }, "target a.app.test: context deadline exceeded"},
	} {
		t.Run(what, func(t *testing.T) {
			onBench(t, nil, func(b *bench) {
				b.fill()
				b.want("edge", http, ir.DNS{})
				b.is("waits")
				b.changes()
				b.edit(func() { c.change(b) })
				b.changes()
				b.is("10.0.0.1:80 10.0.0.2:81")
				b.fault(c.fault)
				if _, faulty, _, _ := b.Counts(); faulty != 1 {
					t.Errorf("got %d faulty names, want 1", faulty)
				}
				b.quiet(10 * time.Minute) // the same fault is no news
				b.edit(func() { clear(b.faults); clear(b.silent); b.fill() })
				if took := b.changes(); took > lookupTime+failureMax+time.Second {
					t.Errorf("it took %v to find that all is well again", took)
				}
				b.fault("")
				b.is("10.0.0.1:80 10.0.0.2:81")
				if n := strings.Count(b.log.String(), "level=WARN"); n != 1 {
					t.Errorf("got %d warnings, want one\n%s", n, &b.log)
				}
			})
		})
	}
}

// A fault beside servers, such as a target that is gone, does not keep newer records waiting.
func TestFaultyTargetHidesNothing(t *testing.T) {
	onBench(t, nil, func(b *bench) {
		b.fill()
		delete(b.hosts, "a.app.test")
		b.want("edge", http, ir.DNS{})
		b.is("waits")
		b.changes()
		b.is("10.0.0.2:81")
		b.quiet(10*time.Minute + 10*time.Second)
		b.edit(func() { b.records[http][0].Port = 8081 })
		if took := b.changes(); took > 6*time.Second {
			t.Errorf("another port took %v, want what the TTL says", took)
		}
		b.is("10.0.0.2:8081")
	})
}

// While no name server says a word a fleet waits, and no longer than it must.
func TestFirstWordIsWaitedFor(t *testing.T) {
	onBench(t, nil, func(b *bench) {
		b.fill()
		b.silent["b.app.test"] = true
		b.want("edge", http, ir.DNS{})
		b.want("other", "_http._tcp.other.test", ir.DNS{})
		b.is("waits", "waits")
		b.changes()
		b.is("waits", "") // there are no records of the other
		if took := b.changes(); took < settleWithin-time.Second || took > settleWithin+time.Second {
			t.Errorf("got news after %v, want them after %v", took, settleWithin)
		}
		b.is("", "")
		b.fault("there is no answer yet")
		b.changes() // the target's time is over
		b.is("10.0.0.1:80", "")
	})
}

func TestWhoWantsTheSameShares(t *testing.T) {
	onBench(t, nil, func(b *bench) {
		b.fill()
		b.want("edge", http, ir.DNS{})
		b.want("edge2", http, ir.DNS{})
		b.want("edge3", http, ir.DNS{Resolvers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53")}})
		b.is("waits", "waits", "waits")
		b.changes()
		b.is("10.0.0.1:80 10.0.0.2:81", "10.0.0.1:80 10.0.0.2:81", "10.0.0.1:80 10.0.0.2:81")
		if n := b.count(http); n != 2 {
			t.Errorf("asked %d times, want 2: two of the three want the same", n)
		}
		b.fleets = b.fleets[:1]
		b.is("10.0.0.1:80 10.0.0.2:81")
		b.edit(func() { clear(b.asked) })
		b.quiet(time.Minute)
		if n := b.count(http); n < 11 || n > 13 {
			t.Errorf("asked %d times in a minute, want 12: nobody wants the other any more", n)
		}
		only := b.fleets
		b.fleets = nil
		b.is()
		b.edit(func() { clear(b.asked) })
		b.quiet(time.Minute)
		if n := b.count(http); n != 0 {
			t.Errorf("asked %d times, want none: nobody wants it", n)
		}
		b.fleets = only
		b.is("waits")
		b.changes()
		b.is("10.0.0.1:80 10.0.0.2:81")
	})
}

func TestIntervalsAndFamilies(t *testing.T) {
	onBench(t, nil, func(b *bench) {
		b.fill()
		b.hosts["a.app.test"] = ips("10.0.0.1", "fd00::1")
		b.hosts["b.app.test"] = ips("fd00::2")
		b.want("four", http, ir.DNS{Refresh: time.Minute, Family: ir.FamilyIPv4})
		b.want("six", http, ir.DNS{Refresh: time.Minute, Family: ir.FamilyIPv6})
		b.want("both", http, ir.DNS{Refresh: time.Minute, Family: ir.FamilyBoth})
		b.want("any", http, ir.DNS{Refresh: time.Minute})
		b.is("waits", "waits", "waits", "waits")
		b.changes()
		b.is("10.0.0.1:80", "[fd00::1]:80 [fd00::2]:81", "10.0.0.1:80 [fd00::1]:80 [fd00::2]:81", "10.0.0.1:80 [fd00::2]:81")
		b.edit(func() { clear(b.asked); b.ttl, b.hostTTL = 0, 0 })
		time.Sleep(10*time.Minute + time.Second)
		// Of the IPv4 one a target has no address: that is asked for again and again, at most as often as the back-off has it.
		if n := b.count(http); n < 3*10+20 || n > 3*10+25 {
			t.Errorf("asked %d times in 10 minutes, want 10 by each of three, and 20 to 25 by the one with a fault", n)
		}
	})
}

// The first to grow old decides, be it the records or an address.
func TestLeastTTL(t *testing.T) {
	for _, ttl := range [][2]time.Duration{{time.Hour, 20 * time.Second}, {20 * time.Second, time.Hour}} {
		onBench(t, nil, func(b *bench) {
			b.fill()
			b.ttl, b.hostTTL = ttl[0], ttl[1]
			b.want("edge", http, ir.DNS{})
			b.is("waits")
			b.changes()
			b.edit(func() { b.hosts["a.app.test"] = ips("10.0.0.3") })
			if took := b.changes(); took < 19*time.Second || took > 21*time.Second {
				t.Errorf("TTLs of %v: another address took %v, want 20 s", ttl, took)
			}
		})
	}
}

func TestKeptOverRestart(t *testing.T) {
	var kept map[string][]byte
	onBench(t, nil, func(b *bench) {
		b.fill()
		b.want("edge", http, ir.DNS{})
		b.is("waits")
		b.changes()
		kept = b.Keep()
	})
	kept["damaged"] = []byte("{")
	onBench(t, kept, func(b *bench) {
		b.silent[http] = true
		b.want("edge", http, ir.DNS{})
		b.is("10.0.0.1:80 10.0.0.2:81") // nobody waits
		synctest.Wait()
		b.edit(func() { b.fill(); b.records[http] = b.records[http][:1]; clear(b.silent) })
		b.changes() // what was asked at first was lost
		b.is("10.0.0.1:80 10.0.0.2:81")
		b.changes()
		b.is("10.0.0.2:81")
		if !strings.Contains(b.log.String(), "name=damaged") {
			t.Errorf("got no word of what was damaged\n%s", &b.log)
		}
	})
}

func TestTooManyServers(t *testing.T) {
	onBench(t, nil, func(b *bench) {
		var records []dns.Service
		for i := range uint16(maxServers) {
			records = append(records, dns.Service{Target: "a.app.test", Port: 1000 + i, Priority: maxServers - i, Weight: 1})
		}
		b.records[http], b.hosts["a.app.test"] = records, ips("10.0.0.1", "10.0.0.2")
		b.want("edge", http, ir.DNS{})
		b.Resolve(b.fleets)
		b.changes()
		out, _ := b.Resolve(b.fleets)
		servers := out[0].Clusters[0].Endpoints
		if len(servers) != maxServers || servers[0].Address.Port() != 1999 || servers[maxServers-1].Address.Port() != 1500 {
			t.Errorf("got %d servers, from port %d to %d, want those that come first", len(servers), servers[0].Address.Port(), servers[len(servers)-1].Address.Port())
		}
		b.fault("got 2000 servers, of which 1000 are used")
		if n := b.count("a.app.test"); n != 1 {
			t.Errorf("asked for the target %d times, want once for all records", n)
		}
	})
}
