package identity

import (
	"context"
	"maps"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxStreams is how many streams each name in a certificate may have at the same time. A proxy has one, or two while another takes
// its place, and those of connections that nobody knows to be dead, which are found out within a minute.
const maxStreams = 64

// streams count those of each proxy, so that one in the wrong hands does not have them all.
type streams struct {
	mu sync.Mutex
	of map[string]int // guarded by mu
}

// add counts one in until leave is called. Who has no certificate is not told from others.
func (s *streams) add(ctx context.Context) (leave func(), err error) {
	leaf, err := peerCertificate(ctx)
	if err != nil {
		return func() {}, nil
	}
	who := names(leaf)
	s.mu.Lock()
	defer s.mu.Unlock()
	if most := maxStreams * max(1, len(leaf.URIs)+len(leaf.DNSNames)); s.of[who] >= most {
		return nil, status.Errorf(codes.ResourceExhausted, "%s has %d streams, want no more", who, most)
	}
	if s.of == nil {
		s.of = map[string]int{}
	}
	s.of[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.of[who]--; s.of[who] == 0 {
			delete(s.of, who)
		}
	}, nil
}

// Bounds on what is logged of calls that are refused: strangers choose how many there are.
const (
	tellAgain = time.Minute // of one address
	maxTold   = 100         // addresses in that time
)

// told remembers of whom a refusal was logged.
type told struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu
}

// fresh tells whether a refusal is to be logged.
func (t *told) fresh(from string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.last[from]; ok && now.Sub(at) < tellAgain {
		return false
	}
	if len(t.last) >= maxTold {
		maps.DeleteFunc(t.last, func(_ string, at time.Time) bool { return now.Sub(at) >= tellAgain })
	}
	if t.last == nil {
		t.last = map[string]time.Time{}
	}
	if len(t.last) >= maxTold {
		return false
	}
	t.last[from] = now
	return true
}
