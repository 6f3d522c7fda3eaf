package live

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/listener"
)

// headerLogEvery is how often a listener's bad headers are logged at most: strangers make them.
const headerLogEvery = 10 * time.Second

// headerLog says when bad headers are to be logged.
type headerLog struct {
	// last is when they were, in Unix nanoseconds; since is how many there have been.
	last, since atomic.Int64
}

// due counts a bad header in, and tells how many there have been if it is time to log; 0 if it is not.
func (h *headerLog) due(now time.Time) int64 {
	h.since.Add(1)
	last := h.last.Load()
	if now.UnixNano()-last < int64(headerLogEvery) || !h.last.CompareAndSwap(last, now.UnixNano()) {
		return 0
	}
	return h.since.Swap(0)
}

// takeHeader reads the PROXY protocol's header, by which the connection becomes its client's, and counts the client. Nil:
// the connection ends.
func (c *conn) takeHeader(mode config.ProxyHeader, deadline time.Time) net.Conn {
	l := c.listener
	h, rest, err := listener.TakeHeader(c.Conn, deadline, mode == config.ProxyHeaderOptional)
	if err != nil {
		var bad *listener.HeaderError
		if !errors.As(err, &bad) {
			// It went away, as health checks do, or was silent for too long.
			l.stats.PeekFailed.Add(1)
			return nil
		}
		l.stats.HeaderBad.Add(1)
		if n := l.headers.due(time.Now()); n > 0 {
			l.runtime.options.Logger.Warn("a connection does not begin with a good PROXY protocol header",
				"listener", l.name, "peer", c.RemoteAddr(), "error", bad.Err, "connections", n)
		}
		return nil
	}
	if h.Source.IsValid() {
		c.header = &h
	}
	if rest != c.Conn {
		c.unserved = rest
	}
	if client := c.peer().Addr(); client.IsValid() && l.runtime.clients != nil {
		if !l.runtime.clients.Acquire(client) {
			c.outcome = listener.RefusedClient
			return nil
		}
		c.client = client
	}
	return rest
}

// Unserved is the connection for who sheds it.
func (c *conn) Unserved() net.Conn {
	if c.unserved != nil {
		return c.unserved
	}
	return c.Conn
}

// peer is the client, and local where it has connected to: what the header says, or what the socket does.
func (c *conn) peer() netip.AddrPort {
	if c.header != nil {
		return c.header.Source
	}
	return address(c.RemoteAddr())
}

func (c *conn) local() netip.AddrPort {
	if c.header != nil {
		return c.header.Destination
	}
	return address(c.LocalAddr())
}

// socketPath is the path of the unix socket that the client has connected to; "" is none.
func (c *conn) socketPath() string {
	if a, ok := c.LocalAddr().(*net.UnixAddr); ok {
		return a.Name
	}
	return ""
}

// direct is who has connected, where that is not the client.
func (c *conn) direct() netip.AddrPort {
	if c.header != nil {
		return address(c.RemoteAddr())
	}
	return netip.AddrPort{}
}
