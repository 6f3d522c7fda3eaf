package upstream

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/http2"
)

// socketTimeout is how long an upstream's socket may take no byte while many streams wait for it.
const socketTimeout = 30 * time.Second

// shared is the HTTP/2 connections of a pool: many exchanges use one. When all are full another is made, as long as the
// cluster's MaxConnections allows it; then who comes waits for room.
type shared struct {
	// streams are the connections; the slice is never changed, but replaced under the pool's mu.
	streams atomic.Pointer[[]*http2.ClientConn]
	// dialing is the connection that is being made; nil if none is. Guarded by the pool's mu.
	dialing *dialing
	// hopeful are who wait for room, first come first served. Guarded by the pool's mu.
	hopeful []chan struct{}
}

// dialing is a connection that is being made.
type dialing struct {
	done chan struct{}
	// err is set before done if there is none, and none but it: who waits for it fails with it, as with Envoy, for one after the
	// other would wait for as long as each takes to fail.
	err error
}

func (s *shared) list() []*http2.ClientConn {
	if p := s.streams.Load(); p != nil {
		return *p
	}
	return nil
}

// swap replaces the connections. The pool's mu is held.
func (s *shared) swap(list []*http2.ClientConn) (old []*http2.ClientConn) {
	old = s.list()
	s.streams.Store(&list)
	return old
}

// open begins an exchange on a connection with room; nil if there is none. The first ones fill up first, so that those
// which are too many grow idle. No lock of the pool is held: a connection may call room.
func (s *shared) open() *http2.ClientStream {
	for _, c := range s.list() {
		if x := c.NewExchange(); x != nil {
			return x
		}
	}
	return nil
}

// takeStream is take for HTTP/2.
func (p *pool) takeStream() Exchange {
	if x := p.open(); x != nil {
		return x
	}
	return nil
}

// dialHTTP2 makes one connection at a time: who comes meanwhile waits for it, and shares it.
func (p *pool) dialHTTP2(ctx context.Context, client *Client) (Exchange, error) {
	for {
		seen := p.streams.Load()
		if x := p.open(); x != nil {
			return x, nil
		}
		p.mu.Lock()
		switch dialing := p.dialing; {
		case p.streams.Load() != seen:
			p.mu.Unlock()
		case dialing != nil:
			p.mu.Unlock()
			select {
			case <-dialing.done:
				if dialing.err != nil {
					return nil, dialing.err
				}
			case <-ctx.Done():
				return nil, failure.New(failure.ConnectFailed, ctx.Err())
			}
		case client.admit():
			return p.connect(ctx, client)
		case len(p.list()) == 0:
			// Every endpoint may have one, whatever the limit.
			p.stats.ConnectionsActive.Add(1)
			return p.connect(ctx, client)
		default:
			p.mu.Unlock()
			if x, err := p.hope(ctx, client); x != nil || err != nil {
				return x, err
			}
		}
	}
}

// connect makes a connection that is counted in. It is called with mu held, and gives it back.
func (p *pool) connect(ctx context.Context, client *Client) (Exchange, error) {
	dialing := &dialing{done: make(chan struct{})}
	p.dialing = dialing
	p.mu.Unlock()
	c, err := p.handshake(ctx, client)
	var x *http2.ClientStream
	if err == nil {
		// Before others may: who dials has a stream.
		x = c.NewExchange()
	}
	p.mu.Lock()
	p.dialing = nil
	orphan := p.owners == 0
	if err == nil && !orphan {
		p.swap(append(slices.Clip(p.list()), c))
	}
	if len(p.list()) == 0 && ctx.Err() == nil { // nobody fails since another's request has ended
		dialing.err = err
	}
	p.mu.Unlock()
	close(dialing.done)
	// Others may have waited for room.
	p.room()
	switch {
	case err != nil:
		return nil, err
	case x == nil:
		// It ended at once, or takes no stream.
		if orphan {
			c.Close()
		}
		if err := c.Err(); err != nil {
			return nil, err
		}
		return nil, failure.Newf(failure.Overflow, "the upstream allows no streams")
	case orphan:
		return &lastExchange{ClientStream: x, conn: c}, nil
	}
	return x, nil
}

func (p *pool) handshake(ctx context.Context, client *Client) (*http2.ClientConn, error) {
	netConn, err := dial(ctx, client.Cluster, p.address, p.announced, p.secure, forHTTP2)
	if err != nil {
		p.stats.ConnectionsActive.Add(-1)
		return nil, err
	}
	counted := &countedConn{Conn: netConn, done: func() { p.stats.ConnectionsActive.Add(-1) }}
	c, err := http2.NewClientConn(counted, http2.ClientOptions{
		IdleTimeout:  time.Duration(p.idleTimeout.Load()),
		WriteTimeout: socketTimeout,
		Room:         p.room,
	})
	if err != nil {
		counted.Close()
		p.stats.ConnectFailures.Add(1)
		return nil, failure.New(failure.ConnectFailed, err)
	}
	return c, nil
}

// hope waits for room on a connection. It returns neither an exchange nor an error if the caller shall look again.
func (p *pool) hope(ctx context.Context, client *Client) (Exchange, error) {
	turn := make(chan struct{}, 1)
	p.mu.Lock()
	p.hopeful = append(p.hopeful, turn)
	p.mu.Unlock()
	// Room that came before we were on the list is not called out again.
	if x := p.open(); x != nil {
		p.despair(turn)
		return x, nil
	}
	if len(p.list()) == 0 {
		p.despair(turn)
		return nil, nil
	}
	select {
	case <-turn:
	case <-ctx.Done():
		p.despair(turn)
		return nil, failure.New(failure.ConnectFailed, ctx.Err())
	}
	x := p.open()
	if x == nil {
		return nil, nil
	}
	// There may be room for more than one.
	p.callNext()
	return x, nil
}

// despair takes who waited off the list, or gives its turn to the next.
func (p *pool) despair(turn chan struct{}) {
	p.mu.Lock()
	i := slices.Index(p.hopeful, turn)
	if i >= 0 {
		p.hopeful = slices.Delete(p.hopeful, i, i+1)
	}
	p.mu.Unlock()
	if i < 0 {
		p.callNext()
	}
}

func (p *pool) callNext() {
	p.mu.Lock()
	var turn chan struct{}
	if len(p.hopeful) > 0 {
		turn = p.hopeful[0]
		p.hopeful = slices.Delete(p.hopeful, 0, 1)
	}
	p.mu.Unlock()
	if turn != nil {
		turn <- struct{}{}
	}
}

// room is called by a connection that has room again, or has ended.
func (p *pool) room() {
	var ended []*http2.ClientConn
	for _, c := range p.list() {
		if c.Closed() {
			ended = append(ended, c)
		}
	}
	if len(ended) > 0 {
		p.mu.Lock()
		var live []*http2.ClientConn
		for _, c := range p.list() {
			if !slices.Contains(ended, c) {
				live = append(live, c)
			}
		}
		p.swap(live)
		p.mu.Unlock()
	}
	p.callNext()
}

// lastExchange is on a connection that nobody else will use.
type lastExchange struct {
	*http2.ClientStream
	conn *http2.ClientConn
}

// Close ends the exchange and its connection.
func (e *lastExchange) Close(reuse bool) {
	e.ClientStream.Close(reuse)
	e.conn.Close()
}
