// Package fleet measures control planes side by side: ours, and go-control-plane's SnapshotCache and LinearCache, with
// the same resources and the same proxies.
//
// In: which cases, which peers, how many rounds. Out: a table of times, CPU, bytes and memory. A figure is never judged
// here. It must not know the insides of what it measures: everything goes through files, sockets and /proc; only what
// the peers serve is made by our own rooms, so that it is the same.
package fleet

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-proxy/sluice/e2e/bench/fleet/crowd"
	"github.com/sluice-proxy/sluice/e2e/bench/spread"
	"github.com/sluice-proxy/sluice/e2e/bench/usage"
)

// Figures are what was seen in a round, by metric.
type Figures map[string]float64

// Options say how a case is measured.
type Options struct {
	// Settle is how long memory is left alone before it counts as steady.
	Settle time.Duration
	// Growth is how long edits go on at most where memory is looked at, and Edits how many there are to be.
	Growth time.Duration
	Edits  int
	// Times is how often each edit is made; 0 is the case's own.
	Times int
	// Profiles is a folder for CPU profiles of our control plane: of each edit, and of the beginning. Empty: none.
	Profiles string
	// Log is told each figure as it comes.
	Log func(format string, args ...any)
}

// Run measures a case on some systems, of which each has its turn in a round; the next round begins with another one.
func Run(t *testing.T, c *Case, systems []string, rounds int, o Options) *Result {
	t.Helper()
	r := &Result{Case: c, Rounds: map[string][]Figures{}}
	if c.Kind.alone || o.Profiles != "" {
		systems = []string{Ours}
	}
	for i := range rounds {
		for j := range systems {
			name := systems[(i+j)%len(systems)]
			r.Rounds[name] = append(r.Rounds[name], Measure(t, c, name, o))
		}
	}
	return r
}

// Measure measures a case once on a system, which it starts and stops.
func Measure(t *testing.T, c *Case, name string, o Options) Figures {
	t.Helper()
	s := start(t, name, c.Services, o.Profiles != "")
	defer s.stop()
	r := &round{t: t, c: c, s: s, o: o, figures: Figures{}}
	r.crowd = crowd.New(crowd.Options{Address: s.address, Fleet: "default", Delta: c.Kind.delta, Tables: []string{table}})
	r.sync()
	times := c.Kind.times
	if o.Times > 0 {
		times = o.Times
	}
	for range times {
		for _, kind := range c.Kind.edits {
			r.edit(kind)
		}
	}
	if c.Kind.growth {
		r.growth()
	}
	if err := r.crowd.Leave(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r.medians()
}

// round is one measurement of one system.
type round struct {
	t       *testing.T
	c       *Case
	s       *system
	o       Options
	crowd   *crowd.Crowd
	figures Figures
	many    map[string][]float64 // figures that are seen several times
	// profiles is how many were taken.
	profiles int
}

func (r *round) note(metric string, value float64) {
	if r.many == nil {
		r.many = map[string][]float64{}
	}
	r.many[metric] = append(r.many[metric], value)
	if r.o.Log != nil {
		r.o.Log("%s %s %s: %s\n", r.c.Name, r.s.name, metric, spread.Number(value))
	}
}

func (r *round) medians() Figures {
	for metric, values := range r.many {
		r.figures[metric] = spread.Of(values).Median
	}
	return r.figures
}

const mib = 1 << 20

// collected is after how long of nothing Go has collected garbage, which it does every two minutes, and given it back:
// before that, memory says what was needed at the most, and nothing of what is needed.
const collected = 150 * time.Second

// sync lets all proxies connect at once, and waits until all have everything.
func (r *round) sync() {
	base := r.steady()
	r.note("base", base/mib)
	if err := usage.ResetPeak(r.s.process.PID()); err != nil {
		r.t.Fatal(err)
	}
	goal := r.s.world.synced()
	load := ownCPU()
	what := r.during("sync", goal, func() error {
		r.crowd.Join(r.c.Proxies, goal)
		return nil
	})
	r.note("sync/s", what.took.Seconds())
	r.note("sync/cpu", what.cpu.Seconds())
	r.note("sync/load", (ownCPU() - load).Seconds())
	r.note("sync/kb", what.bytes/1000)
	r.note("sync/responses", what.responses)
	_, peak, err := usage.RSS(r.s.process.PID())
	if err != nil {
		r.t.Fatal(err)
	}
	r.heap("steady")
	steady := r.steady()
	r.note("peak", float64(peak)/mib)
	r.note("steady", steady/mib)
	if r.s.profile != "" || r.o.Settle >= collected {
		r.note("peak/steady", float64(peak)/steady)
		r.note("kib/proxy", (steady-base)/1024/float64(r.c.Proxies))
	}
}

// ownCPU is what this process, which plays the proxies, has used.
func ownCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// steady is the memory that is resident after a while of nothing, in bytes.
func (r *round) steady() float64 {
	if r.s.profile != "" { // there it can be had at once
		if err := ask(http.MethodPost, r.s.profile+"/free", nil); err != nil {
			r.t.Fatal(err)
		}
	} else {
		time.Sleep(r.o.Settle)
	}
	now, _, err := usage.RSS(r.s.process.PID())
	if err != nil {
		r.t.Fatal(err)
	}
	return float64(now)
}

// edit makes a change, and waits until all proxies have ACKed it.
func (r *round) edit(kind string) {
	e, err := r.s.world.edit(kind)
	if err == nil {
		err = r.s.stage(e)
	}
	if err != nil {
		r.t.Fatalf("%s: %v", r.s.name, err)
	}
	r.crowd.Expect(e.goal)
	what := r.during(kind, e.goal, func() error { return r.s.change(e) })
	r.note(kind+"/s", what.took.Seconds())
	r.note(kind+"/cpu", what.cpu.Seconds())
	r.note(kind+"/kb", what.bytes/1000)
	r.note(kind+"/responses", what.responses)
	if e.goal.Ordered {
		r.note(kind+"/broken", float64(e.goal.Broken()))
	}
	if r.s.name == Ours {
		r.note(kind+"/beyond", float64((what.took-HoldOff).Microseconds())/1000)
	}
}

// cost is what a change cost.
type cost struct {
	took, cpu        time.Duration
	bytes, responses float64 // per stream
}

// during makes a change, and waits until the goal is reached and nothing comes any more.
func (r *round) during(what string, goal *crowd.Goal, change func() error) cost {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	fail := func(err error) {
		if err != nil {
			r.t.Fatalf("%s: %s: %s: %v", r.c.Name, r.s.name, what, err)
		}
	}
	profiled := r.profile(what)
	before, err := usage.CPU(r.s.process.PID())
	fail(err)
	bytes, responses := r.crowd.Traffic()
	begin := time.Now()
	fail(change())
	last, err := r.crowd.Await(ctx, goal)
	fail(err)
	fail(r.crowd.Quiet(ctx))
	after, err := usage.CPU(r.s.process.PID())
	fail(err)
	fail(profiled())
	bytesNow, responsesNow := r.crowd.Traffic()
	n := float64(r.c.Proxies)
	return cost{last.Sub(begin), after - before, float64(bytesNow-bytes) / n, float64(responsesNow-responses) / n}
}

// growth makes many edits, and tells how memory grew. 100,000 edits one after the other would wait for hours on the
// hold-off: so each service's file is saved in turn, as fast as may be, then all wait until that is live, and for one route.
func (r *round) growth() {
	ctx, cancel := context.WithTimeout(context.Background(), r.o.Growth+patience)
	defer cancel()
	fail := func(err error) {
		if err != nil {
			r.t.Fatalf("%s: growth: %v", r.c.Name, err)
		}
	}
	await := func(goal *crowd.Goal) {
		_, err := r.crowd.Await(ctx, goal)
		fail(err)
	}
	first, early := r.s.world.edits, 0.0
	for begin := time.Now(); time.Since(begin) < r.o.Growth && r.s.world.edits-first < r.o.Edits; {
		goal, err := r.s.world.everyEndpoint(r.crowd.Expect)
		fail(err)
		await(goal)
		e, err := r.s.world.edit(oneRoute)
		fail(err)
		r.crowd.Expect(e.goal)
		fail(r.s.change(e))
		await(e.goal)
		if early == 0 && r.s.world.edits-first > r.o.Edits/5 {
			early = r.steady() // by then it has warmed up
			r.heap("early")
			r.note("growth/from", float64(r.s.world.edits-first))
		}
	}
	late := r.steady()
	r.heap("late")
	r.note("growth/edits", float64(r.s.world.edits-first))
	r.note("growth/early", early/mib)
	r.note("growth/late", late/mib)
}

// heap writes a profile of what is in memory, if profiles are wanted.
func (r *round) heap(what string) {
	if r.o.Profiles == "" || r.s.name != Ours {
		return
	}
	path := filepath.Join(r.o.Profiles, fmt.Sprintf("%s-%s.heap.pprof", r.c.Name, what))
	if err := ask(http.MethodPost, r.s.profile+"/heap", []byte(path)); err != nil {
		r.t.Fatal(err)
	}
}

// profile takes a CPU profile until the function that it returns is called, if one is wanted.
func (r *round) profile(what string) func() error {
	if r.o.Profiles == "" || r.s.name != Ours {
		return func() error { return nil }
	}
	r.profiles++
	path := filepath.Join(r.o.Profiles, fmt.Sprintf("%s-%s-%d.pprof", r.c.Name, what, r.profiles))
	if err := ask(http.MethodPost, r.s.profile+"/start", []byte(path)); err != nil {
		r.t.Fatal(err)
	}
	return func() error { return ask(http.MethodPost, r.s.profile+"/stop", nil) }
}
