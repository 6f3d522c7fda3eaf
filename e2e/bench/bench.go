// Package bench measures proxies side by side: the Go proxy of this house, nginx, HAProxy, Envoy, Caddy and net/http's
// ReverseProxy, each pinned to one CPU, with the same load in turn.
//
// In: which rows, which peers, how many rounds. Out: a table of ratios. A figure is never judged here; a wrong answer
// during a round ends the run, since a proxy that fails is fast. It must not know the insides of what it measures:
// everything goes through the command line, files, sockets and /proc.
package bench

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/usage"
)

// Ours is the proxy that all ratios are of.
const Ours = "sluice"

// Options say what is run.
type Options struct {
	// Rows are names of rows, or beginnings of names with *; empty is all.
	Rows []string
	// Peers are names; ours is always among them.
	Peers []string
	// Rounds is how often each peer has its turn in a row.
	Rounds int
	// Log gets each row as it comes.
	Log func(format string, args ...any)
}

// Row is one thing that is measured.
type Row struct {
	Name, Title string
	// Site is what the proxies must serve for it.
	Site Site
	// Lacks names the peers that cannot do it, with the reason.
	Lacks map[string]string
	// Rounds, if not 0, is how many there are at most: for what takes long and varies little.
	Rounds int
	// Versus, if not nil, is another site under the same load in the same round: the metric growth is the ratio of both.
	Versus *Site
	// Check, if not nil, asks a peer once before the rounds; an error ends the run.
	Check func(p *Proxy) error
	// Load makes the load whose cost is measured; or else Round measures a peer once, in its own way.
	Load  func(p *Proxy) (Load, error)
	Round func(p *Proxy) (Figures, error)
	// Pace, if not nil, is asked once of nginx (or of ours, if it is not there) for the rate of all rounds of all peers.
	Pace func(p *Proxy) (float64, error)
	// Fresh: each round gets a proxy that has just been started.
	Fresh bool
}

// Load runs for a time, several times over, and tells how many requests were answered in which time.
type Load interface {
	Run(d time.Duration) (done int64, took time.Duration, err error)
	Close()
}

// Figures are what a round gives, by the name of a Metric.
type Figures map[string]float64

// Metric is one kind of figure.
type Metric struct {
	Name, Unit string
}

// metrics are all, in the order of the table's lines.
var metrics = []Metric{
	{"cpu", "µs CPU/request"},
	{"growth", "× CPU with 10 routes"},
	{"syscalls", "system calls/request"},
	{"memory", "KB/connection"},
	{"p50", "µs added, p50"},
	{"p99", "µs added, p99"},
	{"p99.9", "µs added, p99.9"},
	{"failed", "failed requests"},
	{"edited", "µs, p99"},
	{"start", "ms to the first 200"},
}

// Result is a row's: each peer's figures, one for each round.
type Result struct {
	Row    *Row
	Rounds map[string][]Figures
}

// Run measures, row after row. Peers are started when a row first needs them.
func Run(t *testing.T, o Options, e *Env) []*Result {
	var results []*Result
	for i := range e.rows {
		row := &e.rows[i]
		if !selected(row.Name, o.Rows) {
			continue
		}
		ok := t.Run(row.Name, func(t *testing.T) {
			r := e.run(t, row, o)
			results = append(results, r)
			o.Log("%s", r.Text())
		})
		if !ok {
			t.Fatalf("bench: row %s failed: no figure of this run is kept", row.Name)
		}
	}
	return results
}

func selected(name string, patterns []string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		if n := len(p) - 1; n >= 0 && p[n] == '*' {
			return len(name) >= n && name[:n] == p[:n]
		}
		return name == p
	})
}

// run does the rounds of a row. In each round each peer has one turn, and each round begins with another peer.
func (e *Env) run(t *testing.T, row *Row, o Options) *Result {
	peers := slices.DeleteFunc(slices.Clone(o.Peers), func(p string) bool { return row.Lacks[p] != "" })
	result := &Result{Row: row, Rounds: map[string][]Figures{}}
	proxies := map[string]*Proxy{}
	for _, name := range peers {
		if !row.Fresh {
			proxies[name] = e.proxy(t, name, row.Site)
			if row.Versus != nil {
				proxies[name].versus = e.proxy(t, name, *row.Versus)
			}
			if err := row.check(proxies[name]); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if row.Pace != nil {
		first := "nginx"
		if proxies[first] == nil {
			first = Ours
		}
		rate, err := row.Pace(proxies[first])
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		o.Log("%s: %.0f requests/s, from %s\n", row.Name, rate, first)
		for _, p := range proxies {
			p.rate = rate
		}
	}
	rounds := o.Rounds
	if row.Rounds > 0 {
		rounds = min(rounds, row.Rounds)
	}
	for round := range rounds {
		for i := range peers {
			name := peers[(i+round)%len(peers)]
			p := proxies[name]
			if row.Fresh {
				p = e.start(t, name, row.Site)
			}
			figures, err := row.measure(p)
			if err != nil {
				t.Fatalf("%s, round %d: %v", name, round, err)
			}
			if row.Fresh {
				p.Stop()
			}
			result.Rounds[name] = append(result.Rounds[name], figures)
		}
	}
	if row.Load == nil {
		return result
	}
	// System calls are counted apart: counting costs time.
	for _, name := range peers {
		calls, err := row.systemCalls(proxies[name])
		if errors.Is(err, errNoCounter) {
			o.Log("%s: system calls are left out: %v\n", row.Name, err)
			return result
		}
		if err != nil {
			t.Fatalf("%s, system calls: %v", name, err)
		}
		result.Rounds[name] = append(result.Rounds[name], calls)
	}
	return result
}

func (r *Row) check(p *Proxy) error {
	if r.Check == nil {
		return nil
	}
	if err := r.Check(p); err != nil {
		return fmt.Errorf("check before the rounds: %w", err)
	}
	return nil
}

func (r *Row) measure(p *Proxy) (Figures, error) {
	if err := p.Pin(); err != nil {
		return nil, err
	}
	if r.Load == nil {
		return r.Round(p)
	}
	figures, err := r.warm(p, func(l Load) (Figures, error) { return p.cost(l) })
	if err != nil || r.Versus == nil {
		return figures, err
	}
	other, err := r.warm(p.versus, func(l Load) (Figures, error) { return p.versus.cost(l) })
	if err == nil {
		figures["growth"] = figures["cpu"] / other["cpu"]
	}
	return figures, err
}

// systemCalls counts them in a run of its own.
func (r *Row) systemCalls(p *Proxy) (Figures, error) {
	return r.warm(p, func(l Load) (Figures, error) {
		count, err := countSystemCalls(p.PID())
		if err != nil {
			return nil, err
		}
		defer count.Close()
		done, _, err := l.Run(roundTime / 3)
		if err != nil {
			return nil, err
		}
		calls, err := count.Total()
		return Figures{"syscalls": float64(calls) / float64(max(done, 1))}, err
	})
}

// warm makes the load, and measures when it has run for a while.
func (r *Row) warm(p *Proxy, measure func(Load) (Figures, error)) (Figures, error) {
	l, err := r.Load(p)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if _, _, err := l.Run(warmTime); err != nil {
		return nil, err
	}
	return measure(l)
}

// How long a round lasts, and what goes before it uncounted: pools fill and caches get warm.
const (
	roundTime = 1500 * time.Millisecond
	warmTime  = 300 * time.Millisecond
)

// cost is what a proxy's processes use while a load runs, for each request that was answered.
func (p *Proxy) cost(l Load) (Figures, error) {
	before, err := usage.CPU(p.PID())
	if err != nil {
		return nil, err
	}
	done, took, err := l.Run(roundTime)
	if err != nil {
		return nil, err
	}
	after, err := usage.CPU(p.PID())
	if err != nil {
		return nil, err
	}
	if done == 0 {
		return nil, fmt.Errorf("no request was answered in %v", took)
	}
	return Figures{
		"cpu":  float64((after - before).Nanoseconds()) / 1e3 / float64(done),
		"rate": float64(done) / took.Seconds(),
	}, nil
}
