package identity

import (
	"container/list"
	"net"
	"sync"

	"github.com/sluice-proxy/sluice/controlplane/identity/address"
)

// Bounds on those who have shown neither a certificate nor a token. Whoever joins needs a connection for a moment, so
// where there are too many it is the oldest that goes: a flood keeps nobody out.
const (
	maxStrangers     = 1024
	maxStrangersFrom = 256 // one address (IPv6: its /64)
	// maxStrangerCalls is for one connection: a call costs little to make, and its goroutines are ours.
	maxStrangerCalls = 16
)

// strangers are connections, the oldest first.
type strangers struct {
	mu   sync.Mutex
	all  list.List      // of *stranger
	from map[string]int // how many, by address
}

type stranger struct {
	from string // an address
	cut  func()
}

// add takes a connection up, which cut ends, until leave is called (more than once does no harm).
func (s *strangers) add(addr net.Addr, cut func()) (leave func()) {
	from := address.Of(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from == nil {
		s.from = map[string]int{}
	}
	for e := s.all.Front(); e != nil && (s.all.Len() >= maxStrangers || s.from[from] >= maxStrangersFrom); {
		next, old := e.Next(), e.Value.(*stranger)
		if s.all.Len() >= maxStrangers || old.from == from {
			s.remove(e)
			old.cut()
		}
		e = next
	}
	e := s.all.PushBack(&stranger{from, cut})
	s.from[from]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remove(e)
	}
}

// remove needs mu. An element that is gone already stays so.
func (s *strangers) remove(e *list.Element) {
	before := s.all.Len()
	old := s.all.Remove(e).(*stranger)
	if s.all.Len() == before {
		return
	}
	if s.from[old.from]--; s.from[old.from] == 0 {
		delete(s.from, old.from)
	}
}
