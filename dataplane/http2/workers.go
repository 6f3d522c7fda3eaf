package http2

import "runtime/debug"

// maxIdleWorkers is how many workers of a connection wait for its next streams. A new goroutine costs less than a
// microsecond, but its stack grows anew while it serves.
const maxIdleWorkers = 64

// dispatch gives a stream to a worker; mu is held.
func (c *serverConn) dispatch(s *ServerStream) {
	c.active++
	if n := len(c.idle); n > 0 {
		// The last one to rest: its stack is still in the cache.
		next := c.idle[n-1]
		c.idle = c.idle[:n-1]
		next <- s
		return
	}
	c.workers.Go(func() { c.work(s) })
}

// dismiss ends the workers that wait; mu is held.
func (c *serverConn) dismiss() {
	for _, next := range c.idle {
		close(next)
	}
	c.idle = nil
}

// work serves one stream after another.
func (c *serverConn) work(s *ServerStream) {
	// With room for one, dispatch never waits.
	next := make(chan *ServerStream, 1)
	for s != nil {
		c.serveStream(s)
		if !c.rest(next) {
			return
		}
		s = <-next
	}
}

// rest puts a worker among those that wait; false if there are enough, or no more streams will come.
func (c *serverConn) rest(next chan *ServerStream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || len(c.idle) >= maxIdleWorkers {
		return false
	}
	c.idle = append(c.idle, next)
	return true
}

// serveStream runs the handler, and ends the stream after it.
func (c *serverConn) serveStream(s *ServerStream) {
	defer c.finish(s)
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		// A goroutine of the handler's may still hold it.
		s.keep()
		if c.opts.Panicked != nil {
			c.opts.Panicked(value, debug.Stack())
		}
	}()
	c.handle(s)
}
