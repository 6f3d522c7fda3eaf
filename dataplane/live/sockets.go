package live

import "github.com/sluice-proxy/sluice/dataplane/listener"

// Sockets are those that are bound now. Until done is called none is opened or closed.
func (r *Runtime) Sockets() (sockets []*listener.Socket, done func()) {
	r.mu.Lock()
	for _, l := range r.listeners {
		sockets = append(sockets, l.socket.socket)
	}
	for _, b := range r.bound {
		sockets = append(sockets, b.socket)
	}
	return sockets, r.mu.Unlock
}

// Share says whether another process has all sockets too: then Drain leaves to it who waits in their queues.
func (r *Runtime) Share(shared bool) {
	sockets, done := r.Sockets()
	defer done()
	for _, s := range sockets {
		s.Share(shared)
	}
}
