package live

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/listener"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// conn is one accepted connection; it is its listener's Handler. Only its goroutine uses it, save where it says so.
type conn struct {
	net.Conn
	listener *running
	// step is what Run does; nil is the end.
	step func(*conn) (ended bool)
	// resume lets Run be called again.
	resume func()
	start  time.Time
	hello  listener.Hello
	// limit counts the connection; nil if it is not counted.
	limit *listener.Limit
	// outcome is how it ends.
	outcome listener.Outcome
	// header is what the PROXY protocol says of the connection; nil if nothing. unserved is what comes after it, if some of
	// that has been read.
	header   *proxyprotocol.Header
	unserved net.Conn
	// client is counted among the clients; invalid if it is not.
	client netip.Addr
	// http is set when the connection is to speak HTTP.
	http *session

	// fd and until are of waiting, and guarded by its mu while the connection is there.
	fd    int
	until time.Time

	// draining is set, and drain is closed, when the connection is to end after what is in flight. Any goroutine.
	draining atomic.Bool

	// chain is guarded by registry.mu; nil while the client has not said enough to choose.
	chain *chain

	mu sync.Mutex
	// Guarded by mu. drain is nil until somebody wants to know. waits is set while the connection is served by HTTP/1, or
	// waits for its first bytes.
	drain      chan struct{}
	waits      bool
	ended      bool
	wake, stop *time.Timer
}

// Run takes the connection's next step.
func (c *conn) Run() listener.Outcome {
	if c.step != nil && !c.step(c) {
		return listener.Waits
	}
	return c.outcome
}

// cut ends the connection at once, whatever it does. Any goroutine may call it.
func (c *conn) cut() {
	if !c.leave(false) {
		c.Conn.Close()
	}
}

// leave ends a connection that waits without a goroutine; false if it does not. If asked, one that has got a request meanwhile
// serves it first. Any goroutine may call it.
func (c *conn) leave(asked bool) bool {
	if !c.listener.runtime.waiting.take(c) {
		return false
	}
	if !asked || !c.asked() {
		c.step = nil
	}
	c.resume()
	return true
}

// asked tells whether bytes have come that were not read. Whoever is about to close looks once more, since the next request
// may have come while he waited for his turn.
func (c *conn) asked() bool {
	s := socket.Of(c.Conn)
	return s != nil && s.Peek() > 0
}

// End forgets the connection.
func (c *conn) End() {
	if c.limit != nil {
		c.limit.Release()
	}
	if c.client.IsValid() {
		c.listener.runtime.clients.Release(c.client)
	}
	if c.http != nil {
		c.http.info.Origin.Close()
	}
	c.listener.runtime.conns.remove(c)
}

// drained is closed when the connection is to end after what is in flight.
func (c *conn) drained() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.drain == nil {
		c.drain = make(chan struct{})
		if c.draining.Load() {
			close(c.drain)
		}
	}
	return c.drain
}

// startDrain tells a connection to end; it is cut after limit. Its HTTP/1 codec is woken from waiting for a request
// after grace, and again, since who has a request in flight then waits for the next only later.
func (c *conn) startDrain(grace, limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining.Swap(true) || c.ended {
		return
	}
	if c.drain != nil {
		close(c.drain)
	}
	c.stop = time.AfterFunc(limit, c.cut)
	c.wake = time.AfterFunc(grace, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended {
			return
		}
		if c.waits && !c.leave(true) {
			_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // it is closed, then
		}
		c.wake.Reset(grace)
	})
}

// setWaits says whether a draining connection may be woken from a read.
func (c *conn) setWaits(waits bool) {
	c.mu.Lock()
	c.waits = waits
	c.mu.Unlock()
}

// end stops the timers; the connection's goroutine calls it last.
func (c *conn) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.wake != nil {
		c.wake.Stop()
		c.stop.Stop()
	}
}

// registry knows all connections of a Runtime, to find those of a chain.
type registry struct {
	mu sync.Mutex
	// Guarded by mu. cut: nothing is to be open any more.
	open map[*conn]struct{}
	cut  bool
}

func (r *registry) add(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[*conn]struct{}{}
	}
	r.open[c] = struct{}{}
	if r.cut {
		c.cut()
	}
}

// join gives a connection to a chain; false if the chain has retired, unless late.
func (r *registry) join(c *conn, to *chain, late bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if to.retired && !late {
		return false
	}
	c.chain = to
	to.active++
	return true
}

func (r *registry) remove(c *conn) {
	c.end()
	r.mu.Lock()
	delete(r.open, c)
	var last *chain
	if c.chain != nil {
		c.chain.active--
		if c.chain.retired && c.chain.active == 0 {
			last = c.chain
		}
	}
	r.mu.Unlock()
	if last != nil {
		last.release()
	}
}

func (r *registry) retire(retired *chain) {
	var leaving []*conn
	r.mu.Lock()
	if retired.retired {
		r.mu.Unlock()
		return
	}
	retired.retired = true
	for c := range r.open {
		if c.chain == retired {
			leaving = append(leaving, c)
		}
	}
	idle := retired.active == 0
	r.mu.Unlock()
	retired.listener.runtime.drain(leaving)
	if idle {
		retired.release()
	}
}

// rechoose drains the connections of a listener that its new version would give to another chain than they have.
func (r *registry) rechoose(l *running, next *version) {
	var leaving []*conn
	r.mu.Lock()
	for c := range r.open {
		if c.chain != nil && c.chain.listener == l && !c.chain.retired && next.choose(c.hello) != c.chain {
			leaving = append(leaving, c)
		}
	}
	r.mu.Unlock()
	l.runtime.drain(leaving)
}

func (r *registry) cutAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
	for c := range r.open {
		c.cut()
	}
}

// count is the connections of each chain.
func (r *registry) count() map[*chain]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := map[*chain]int{}
	for c := range r.open {
		counts[c.chain]++
	}
	return counts
}

func (r *Runtime) drain(conns []*conn) {
	for _, c := range conns {
		c.startDrain(r.idleGrace, r.options.DrainTime)
	}
}
