package upstream

import (
	"maps"
	"sync"

	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
)

// Origin is a client's connection, for clusters whose connections begin with the PROXY protocol's header. Those that are
// made for it serve it alone, since all that comes by them is taken for that client's, and are closed with it. The zero
// value is ready, and knows no addresses. Any goroutine may use it.
type Origin struct {
	// Header is the connection's addresses. Read-only once it is used.
	Header proxyprotocol.Header

	mu sync.Mutex
	// Guarded by mu. pools are the Origin's own, by that of the endpoint.
	pools  map[*pool]*pool
	closed bool
}

// of is the pool that serves an Origin: p itself, unless p's connections tell whose they are. One that is closed gets pools
// whose connections serve one exchange.
func (p *pool) of(o *Origin) *pool {
	if p.version == 0 {
		return p
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	own := o.pools[p]
	if own != nil && !own.drains() {
		return own
	}
	own = newPool(p.address, p.http2, p.version, p.secure, p.stats)
	own.announced = o.Header
	own.idleTimeout.Store(p.idleTimeout.Load())
	if o.closed || !p.adopt(own) {
		own.owners = 0
		return own
	}
	// Those of endpoints that are gone are of no use any more.
	maps.DeleteFunc(o.pools, func(_, old *pool) bool { return old.drains() })
	if o.pools == nil {
		o.pools = map[*pool]*pool{}
	}
	o.pools[p] = own
	return own
}

// Close drains the connections that were made for the client's.
func (o *Origin) Close() {
	o.mu.Lock()
	o.closed = true
	pools := o.pools
	o.pools = nil
	o.mu.Unlock()
	for p, own := range pools {
		if p.disinherit(own) {
			own.disown()
		}
	}
}

// adopt lets another pool drain when p does; false if p drains already.
func (p *pool) adopt(own *pool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owners == 0 {
		return false
	}
	if p.adopted == nil {
		p.adopted = map[*pool]struct{}{}
	}
	p.adopted[own] = struct{}{}
	return true
}

// disinherit undoes adopt; false if p has drained.
func (p *pool) disinherit(own *pool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.adopted[own]
	delete(p.adopted, own)
	return ok
}

func (p *pool) drains() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.owners == 0
}
