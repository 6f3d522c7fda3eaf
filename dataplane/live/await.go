package live

import (
	"errors"
	"os"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// awaitFirst waits for a connection's first bytes: in its goroutine as long as most take, with few frames, so that the
// stack stays small; and then without one.
func (c *conn) awaitFirst() (ended bool) {
	idle, patience := c.http.config.IdleTimeout, c.listener.runtime.parkAfter
	if patience <= 0 || idle > 0 && idle <= patience {
		patience = idle
	}
	if patience > 0 && c.SetReadDeadline(time.Now().Add(patience)) != nil {
		return true
	}
	switch err := socket.Readable(c.Conn); {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded) && c.asked():
		return c.resumed()
	case !errors.Is(err, os.ErrDeadlineExceeded), c.draining.Load(), patience == idle:
		return true
	}
	return c.park(idle, patience)
}

// park lets the connection wait without a goroutine, for what is left of its idle timeout; false: it does.
func (c *conn) park(idle, spent time.Duration) (ended bool) {
	var until time.Time
	if idle > 0 {
		until = time.Now().Add(idle - spent)
	}
	c.step = (*conn).resumed
	w := &c.listener.runtime.waiting
	if err := w.add(c, until); err != nil {
		// For want of a descriptor, say: it is no use keeping it.
		c.listener.runtime.options.Logger.Warn("a connection cannot wait", "peer", c.http.info.Peer, "error", err)
		return true
	}
	return false
}

// resumed goes on with a connection that has something to read.
func (c *conn) resumed() (ended bool) {
	if c.SetReadDeadline(time.Time{}) != nil {
		return true
	}
	c.http.pending = true
	return c.speak()
}
