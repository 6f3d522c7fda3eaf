package listener

import (
	"hash/maphash"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Limit bounds connections over many sockets. A nil Limit, and the zero value, have no bound.
type Limit struct {
	max    atomic.Int64
	active atomic.Int64
}

// NewLimit is a bound of n connections; 0 is DefaultConnections.
func NewLimit(n int) *Limit {
	if n <= 0 {
		n = DefaultConnections()
	}
	l := &Limit{}
	l.Set(int64(n))
	return l
}

// Set changes the bound; 0 is none. Who is above it stays.
func (l *Limit) Set(n int64) { l.max.Store(n) }

// Active is the number of connections now.
func (l *Limit) Active() int64 { return l.active.Load() }

// Max is the bound; 0 is none.
func (l *Limit) Max() int64 { return l.max.Load() }

// Acquire counts a connection, until Release, if there may be one more.
func (l *Limit) Acquire() bool {
	if l == nil {
		return true
	}
	n := l.active.Add(1)
	if most := l.max.Load(); most > 0 && n > most {
		l.active.Add(-1)
		return false
	}
	return true
}

// Release gives back what Acquire took.
func (l *Limit) Release() {
	if l != nil {
		l.active.Add(-1)
	}
}

// kept are descriptors for all that is no client's connection: files, sockets, the control plane.
const kept = 256

// DefaultConnections is what the process's descriptors allow: a proxied connection takes two; between 256 and 1,000,000.
func DefaultConnections() int {
	return min(max((descriptors()-kept)/2, 256), 1_000_000)
}

// MostConnections is what a bound can be at most, since each connection takes a descriptor: who sets one may know that most
// are idle.
func MostConnections() int { return max(descriptors()-kept, 256) }

// descriptors is how many the process may have open. Go raises the soft limit to the hard one by itself.
func descriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(limit.Cur, 1<<30))
}

// Clients bounds the connections of each client address: of an IPv6 client those of its /64, which is one customer's.
type Clients struct {
	max    int32
	seed   maphash.Seed
	shards [64]clientShard
}

type clientShard struct {
	mu sync.Mutex
	// open is guarded by mu. A client without connections is not in it.
	open map[netip.Addr]int32
}

// NewClients is a bound of n connections for each client; nil, no bound, for 0.
func NewClients(n int) *Clients {
	if n <= 0 {
		return nil
	}
	return &Clients{max: int32(min(n, 1<<30)), seed: maphash.MakeSeed()}
}

// key is what a client is counted by.
func (c *Clients) key(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return clientOf(tcp.AddrPort().Addr())
}

func clientOf(ip netip.Addr) netip.Addr {
	ip = ip.Unmap()
	if ip.Is6() {
		if prefix, err := ip.WithZone("").Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return ip
}

// Acquire counts a connection of a client, until Release, if there may be one more. Nil Clients have no bound.
func (c *Clients) Acquire(client netip.Addr) bool { return c == nil || c.acquire(clientOf(client)) }

// Release gives back what Acquire took.
func (c *Clients) Release(client netip.Addr) {
	if c != nil {
		c.release(clientOf(client))
	}
}

func (c *Clients) shard(peer netip.Addr) *clientShard {
	return &c.shards[maphash.Comparable(c.seed, peer)%uint64(len(c.shards))]
}

func (c *Clients) acquire(peer netip.Addr) bool {
	s := c.shard(peer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[peer] >= c.max {
		return false
	}
	if s.open == nil {
		s.open = map[netip.Addr]int32{}
	}
	s.open[peer]++
	return true
}

func (c *Clients) release(peer netip.Addr) {
	s := c.shard(peer)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[peer]--; s.open[peer] <= 0 {
		delete(s.open, peer)
	}
}
