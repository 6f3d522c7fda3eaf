package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/dataplane/http2"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// pool is the connections to one address.
type pool struct {
	// Read-only after newPool.
	address config.Address
	http2   bool
	stats   *cluster.Stats
	// version is that of the PROXY protocol's header that connections begin with; 0 is none. announced is what it says.
	version   int
	announced proxyprotocol.Header

	// secure is nil in plaintext.
	secure *secure

	idleTimeout atomic.Int64

	mu sync.Mutex
	// All below is guarded by mu. owners are the clients that share the pool; at 0 it drains.
	owners int
	// adopted are pools of this address that drain when it does.
	adopted map[*pool]struct{}
	// idle is a stack: the connection used last is used next, so that those that are too many grow old.
	idle []*conn
	// reaper closes what has been idle for too long; reaping tells that it is armed.
	reaper  *time.Timer
	reaping bool
	// count is the connections of HTTP/1.1, those that are being made among them, and made is the others; waiters are who wait for
	// one, first come first served.
	count, made int
	waiters     []chan offer
	// shared is HTTP/2's.
	shared
}

func newPool(address config.Address, http2 bool, version int, secure *secure, stats *cluster.Stats) *pool {
	return &pool{address: address, http2: http2, version: version, secure: secure, stats: stats, owners: 1}
}

// own counts an owner in; false if the pool drains already.
func (p *pool) own() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owners == 0 {
		return false
	}
	p.owners++
	return true
}

func (p *pool) disown() {
	p.mu.Lock()
	p.owners--
	var idle []*conn
	var streams []*http2.ClientConn
	var adopted map[*pool]struct{}
	if p.owners == 0 {
		idle, p.idle = p.idle, nil
		adopted, p.adopted = p.adopted, nil
		streams = p.swap(nil)
		if p.reaper != nil {
			p.reaper.Stop()
		}
	}
	p.mu.Unlock()
	for own := range adopted {
		own.disown()
	}
	for _, c := range idle {
		c.Close(false)
	}
	for _, s := range streams {
		// Streams under way go on; the connection ends with the last of them.
		go func() {
			_ = s.Shutdown(context.Background())
		}()
	}
}

// take begins an exchange on a connection that is there, or is nil.
func (p *pool) take() Exchange {
	if p.http2 {
		return p.takeStream()
	}
	for {
		p.mu.Lock()
		if len(p.idle) == 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.pop()
		p.mu.Unlock()
		if c.Idle() {
			c.begin()
			return c
		}
		c.Close(false)
	}
}

// pop takes the connection used last, of which there is one. It is called with mu held.
func (p *pool) pop() *conn {
	n := len(p.idle) - 1
	c := p.idle[n]
	p.idle[n] = nil
	p.idle = p.idle[:n]
	return c
}

// offer is what a waiter gets: a connection, why there will be none, or else leave to make one, if the limit allows it.
type offer struct {
	conn *conn
	err  error
}

func (p *pool) dial(ctx context.Context, client *Client) (Exchange, error) {
	if p.http2 {
		return p.dialHTTP2(ctx, client)
	}
	if !p.enter(client) {
		c, err := p.wait(ctx, client)
		if c != nil || err != nil {
			return asExchange(c), err
		}
	}
	netConn, err := dial(ctx, client.Cluster, p.address, p.announced, p.secure, forHTTP1)
	if err != nil {
		p.stats.ConnectionsActive.Add(-1)
		p.failed(ctx, err)
		return nil, err
	}
	c := &conn{ClientConn: http1.NewClientConn(netConn, http1.Limits{}), pool: p}
	p.mu.Lock()
	p.made++
	p.mu.Unlock()
	c.begin()
	return c, nil
}

// enter counts a connection in that is about to be made, unless there are as many as there may be.
func (p *pool) enter(client *Client) bool {
	if !client.admit() {
		return false
	}
	p.mu.Lock()
	p.count++
	p.mu.Unlock()
	return true
}

func asExchange(c *conn) Exchange {
	if c == nil {
		return nil
	}
	return c
}

// wait waits for a connection that is in use. It returns nil and no error if a new one may be made, which is counted in
// then: this pool has none, as every endpoint may have one whatever the limit, or one has closed.
func (p *pool) wait(ctx context.Context, client *Client) (*conn, error) {
	for {
		p.mu.Lock()
		if p.count == 0 {
			p.count++
			p.mu.Unlock()
			p.stats.ConnectionsActive.Add(1)
			return nil, nil
		}
		if len(p.idle) > 0 {
			// It came back after take had looked, and nobody would call.
			c := p.pop()
			p.mu.Unlock()
			if c.Idle() {
				c.begin()
				return c, nil
			}
			c.Close(false)
			continue
		}
		waiter := make(chan offer, 1)
		p.waiters = append(p.waiters, waiter)
		p.mu.Unlock()
		var o offer
		select {
		case o = <-waiter:
		case <-ctx.Done():
			p.leave(waiter)
			return nil, failure.New(failure.ConnectFailed, ctx.Err())
		}
		switch {
		case o.err != nil:
			return nil, o.err
		case o.conn != nil:
			o.conn.begin()
			return o.conn, nil
		case p.enter(client):
			return nil, nil
		}
	}
}

// leave takes a waiter off the list, or gives on what it got meanwhile.
func (p *pool) leave(waiter chan offer) {
	p.mu.Lock()
	for i, w := range p.waiters {
		if w == waiter {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	// It was called: the value is there, or about to be.
	switch o := <-waiter; {
	case o.conn != nil:
		p.put(o.conn)
	case o.err == nil:
		p.mu.Lock()
		p.next()
		p.mu.Unlock()
	}
}

// put takes a connection back that may serve again.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	if len(p.waiters) > 0 {
		waiter := p.waiters[0]
		p.waiters = p.waiters[1:]
		p.mu.Unlock()
		waiter <- offer{conn: c}
		return
	}
	if p.owners == 0 {
		p.mu.Unlock()
		c.Close(false)
		return
	}
	p.idle = append(p.idle, c)
	if timeout := time.Duration(p.idleTimeout.Load()); timeout > 0 {
		c.since = time.Now()
		if !p.reaping {
			p.reaping = true
			p.arm(timeout)
		}
	}
	p.mu.Unlock()
}

// gone counts a connection out, and calls the next waiter to make one in its stead.
func (p *pool) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count--
	p.made--
	p.next()
}

// next calls the next waiter. mu is held.
func (p *pool) next() {
	if len(p.waiters) > 0 {
		p.waiters[0] <- offer{} // it has room
		p.waiters = p.waiters[1:]
	}
}

// failed counts out a connection that could not be made. If there is no other, all who wait fail with it, as with Envoy: one
// after the other they would wait for as long as each takes to fail. But nobody fails since another's request has ended (ctx).
func (p *pool) failed(ctx context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count--
	if p.made > 0 || ctx.Err() != nil {
		p.next()
		return
	}
	for _, waiter := range p.waiters {
		waiter <- offer{err: err}
	}
	p.waiters = nil
}

// arm is called with mu held.
func (p *pool) arm(wait time.Duration) {
	if p.reaper == nil {
		p.reaper = time.AfterFunc(wait, p.reap)
	} else {
		p.reaper.Reset(wait)
	}
}

// reap closes connections that have been idle for too long: they are at the bottom of the stack.
func (p *pool) reap() {
	timeout := time.Duration(p.idleTimeout.Load())
	p.mu.Lock()
	p.reaping = false
	var old []*conn
	if timeout > 0 && p.owners > 0 {
		n := 0
		for n < len(p.idle) && time.Since(p.idle[n].since) >= timeout {
			n++
		}
		old = append(old, p.idle[:n]...)
		kept := append(p.idle[:0], p.idle[n:]...)
		clear(p.idle[len(kept):])
		if p.idle = kept; len(kept) > 0 {
			p.reaping = true
			p.arm(timeout - time.Since(kept[0].since))
		}
	}
	p.mu.Unlock()
	for _, c := range old {
		c.Close(false)
	}
}

// conn is an HTTP/1.1 connection of a pool, and its exchange.
type conn struct {
	*http1.ClientConn
	pool *pool
	// since is when it became idle; guarded by pool.mu.
	since time.Time
	// closed tells that it is counted out.
	closed atomic.Bool
}

func (c *conn) begin() { c.Begin() }

// Close ends the exchange.
func (c *conn) Close(reuse bool) {
	if reuse && !c.closed.Load() && c.Finish() {
		c.pool.put(c)
		return
	}
	if c.closed.Swap(true) {
		return
	}
	// Who sees the connection end sees it counted out.
	c.pool.stats.ConnectionsActive.Add(-1)
	c.Break()
	c.pool.gone()
}
