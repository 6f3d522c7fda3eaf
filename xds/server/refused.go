package server

import "time"

const (
	// refusedAgain is how often at most one node's refusal is logged: a proxy comes back every second or so.
	refusedAgain = 10 * time.Minute
	// maxRefused bounds what strangers can make the server remember.
	maxRefused = 1000
)

// tellRefused logs that a client may not be the node that it says it is: whoever looks for that proxy finds out why it
// does not appear.
func (s *Server) tellRefused(n Node, why error) {
	now := time.Now()
	key := n.Cluster + "\x00" + n.ID
	s.mu.Lock()
	last, known := s.refused[key]
	if known && now.Sub(last) < refusedAgain {
		s.mu.Unlock()
		return
	}
	if len(s.refused) >= maxRefused {
		clear(s.refused)
	}
	s.refused[key] = now
	s.mu.Unlock()
	s.options.Logger.Warn("a client was refused", "fleet", n.Cluster, "proxy", n.ID, "reason", why)
}
