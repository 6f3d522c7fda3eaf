package load

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/e2e/bench/loop"
)

// Paced sends requests at times that were fixed before, whether the proxy keeps up or not: a request that has to wait
// for a connection has waited from its intended time on. (A load that waits for answers asks a proxy that stands still
// nothing, and so does not see that it stands.)
type Paced struct {
	addr string
	kind HTTP1
	loop *loop.Loop
	buf  []byte
	// idle are connections without a request, who waits longest first; waiting are intended times of requests that wait
	// for one.
	idle    []*pacedConn
	waiting []time.Duration
	busy    int
	begin   time.Time
	// tolerant: a request without a good answer is counted in failed, and its connection made anew.
	tolerant  bool
	latencies []time.Duration
	failed    int
	err       error
}

// pacedConn is one connection.
type pacedConn struct {
	*Paced
	conn     *loop.Conn
	session  session
	intended time.Duration // since begin
	inFlight bool
}

// Latencies are what came of a paced load.
type Latencies struct {
	sorted []time.Duration
	// Failed is how many requests had no good answer, if that was tolerated.
	Failed int
}

// Percentile is the latency that p percent do not exceed.
func (l Latencies) Percentile(p float64) time.Duration {
	if len(l.sorted) == 0 {
		return 0
	}
	return l.sorted[min(len(l.sorted)-1, int(float64(len(l.sorted))*p/100))]
}

// Pace opens connections.
func Pace(addr string, conns int, kind HTTP1, tolerant bool) (*Paced, error) {
	events, err := loop.New()
	if err != nil {
		return nil, err
	}
	p := &Paced{addr: addr, kind: kind, loop: events, buf: make([]byte, 64<<10), tolerant: tolerant}
	for range conns {
		if err := p.open(); err != nil {
			events.Close()
			return nil, err
		}
	}
	return p, nil
}

// Close closes the connections.
func (p *Paced) Close() { p.loop.Close() }

// Every calls a function in an interval while Run runs.
func (p *Paced) Every(interval time.Duration, f func() error) (stop func(), err error) {
	return p.loop.Tick(interval, func(uint64) error { return f() })
}

// Run sends rate requests a second for a time, and waits until all have been answered.
func (p *Paced) Run(rate float64, d time.Duration) (Latencies, error) {
	total := int(rate * d.Seconds())
	interval := time.Duration(float64(time.Second) / rate)
	p.latencies, p.failed = make([]time.Duration, 0, total), 0
	p.begin = time.Now()
	sent := 0
	stop, err := p.loop.Tick(interval, func(expired uint64) error {
		for ; expired > 0 && sent < total; expired-- {
			sent++
			p.waiting = append(p.waiting, time.Duration(sent)*interval)
		}
		p.dispatch()
		return nil
	})
	if err != nil {
		return Latencies{}, err
	}
	defer stop()
	patience := time.Now().Add(d + stall)
	err = p.loop.Run(func() bool {
		if p.err == nil && time.Now().After(patience) {
			p.err = fmt.Errorf("%d requests in flight and %d waiting %v after the end", p.busy, len(p.waiting), stall)
		}
		return p.err != nil || sent == total && p.busy == 0 && len(p.waiting) == 0
	})
	if err := errors.Join(p.err, err); err != nil {
		return Latencies{}, fmt.Errorf("load: %w", err)
	}
	slices.Sort(p.latencies)
	return Latencies{sorted: p.latencies, Failed: p.failed}, nil
}

// dispatch gives waiting requests to idle connections.
func (p *Paced) dispatch() {
	for len(p.waiting) > 0 && len(p.idle) > 0 {
		c := p.idle[0]
		p.idle = append(p.idle[:0], p.idle[1:]...)
		c.intended, c.inFlight = p.waiting[0], true
		p.waiting = append(p.waiting[:0], p.waiting[1:]...)
		p.busy++
		if err := c.session.start(c.conn); err != nil {
			c.conn.Close()
			c.Closed(c.conn, err)
		}
	}
}

func (p *Paced) open() error {
	c := &pacedConn{Paced: p}
	c.session = p.kind.session(c)
	conn, err := p.loop.Dial(p.addr, c)
	if err != nil {
		return err
	}
	c.conn = conn
	p.idle = append(p.idle, c)
	return nil
}

func (c *pacedConn) sent() {}

func (c *pacedConn) answered() bool {
	c.latencies = append(c.latencies, time.Since(c.begin)-c.intended)
	c.inFlight = false
	c.busy--
	c.idle = append(c.idle, c)
	return false // dispatch decides
}

// Readable is the loop's call.
func (c *pacedConn) Readable(*loop.Conn) error {
	n, err := c.conn.Read(c.buf)
	if err == loop.Again {
		return nil
	}
	if err != nil {
		return err
	}
	if !c.inFlight {
		return fmt.Errorf("%d bytes that nobody asked for: %q", n, c.buf[:n])
	}
	if err := c.session.data(c.conn, c.buf[:n]); err != nil {
		return err
	}
	if len(c.waiting) > 0 {
		c.dispatch()
	}
	return nil
}

// Closed is the loop's call. A connection that is idle may be closed; that costs no request.
func (c *pacedConn) Closed(_ *loop.Conn, err error) {
	if c.inFlight {
		c.busy--
		c.failed++
	} else {
		c.idle = slices.DeleteFunc(c.idle, func(other *pacedConn) bool { return other == c })
	}
	if !c.tolerant {
		c.err = errors.Join(c.err, fmt.Errorf("connection ended: %w", err))
		return
	}
	if err := c.open(); err != nil {
		c.err = errors.Join(c.err, fmt.Errorf("connect again: %w", err))
	}
}
