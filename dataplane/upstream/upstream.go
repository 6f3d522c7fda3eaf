// Package upstream holds the connections to a cluster's endpoints: pools, dialling, and one exchange at a time on
// HTTP/1.1, many on HTTP/2.
//
// In: a cluster. Out: exchanges, and plain connections for TCP. It must not know routes, nor the client.
package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/proxyprotocol"
	"github.com/sluice-proxy/sluice/dataplane/socket"
)

// Exchange is one request and its answer on an upstream connection. One goroutine may write (WriteRequest, Write,
// Flush, End) while another reads (ReadResponse, Read). Failures are *failure.Error.
type Exchange interface {
	// WriteRequest sends the head; end says that no body follows. Without end, the head may wait for the body's first
	// bytes, or Flush.
	WriteRequest(head *message.Request, end bool) error
	// Write sends a part of the body; it may wait for the upstream.
	Write(p []byte) (int, error)
	// Flush sends what is buffered.
	Flush() error
	// End ends the request's body, and flushes; trailer may be nil.
	End(trailer message.Header) error
	// ReadResponse reads a head. Those of status 1xx come one by one before the final one. It is valid until the next
	// call, or Close.
	ReadResponse() (*message.Response, error)
	// Read reads the answer's body, decoded. At io.EOF, which may come with the last bytes, the head's Trailer is filled.
	Read(p []byte) (int, error)
	// Close ends the exchange. Close(true) is for its owner, when no goroutine is in another method: the connection may
	// serve another exchange if all of this one was written and read. Close(false) breaks it off; any goroutine may call
	// it, and it wakes the others. More than one Close is harmless, but not after Close(true).
	Close(reuse bool)
}

// Client is the connections of one version of a cluster. Any goroutine may use it.
type Client struct {
	// Cluster is who is chosen from.
	Cluster *cluster.Cluster
	// pools are read-only after NewClient.
	pools  map[*cluster.Endpoint]*pool
	closed atomic.Bool
	// secure is nil in plaintext.
	secure *secure
	// pending are requests that wait for a connection, which may be being made; versions of a cluster share it.
	pending *atomic.Int64
}

// NewClient makes the connections' keeper of a version of a cluster. Pools of endpoints that stay are shared with old,
// which may be nil, and which may still be used by requests that began with it. Close old when it is no longer handed
// out.
func NewClient(c *cluster.Cluster, old *Client) *Client {
	client := &Client{Cluster: c, pools: make(map[*cluster.Endpoint]*pool, len(c.Endpoints)), pending: new(atomic.Int64)}
	client.secure = secureFor(c.Config, old)
	known := map[config.Address]*pool{}
	if old != nil {
		client.pending = old.pending
		for e, p := range old.pools {
			if p.http2 == c.Config.HTTP2 && p.version == c.Config.SendProxyHeader && p.secure == client.secure {
				known[e.Address] = p
			}
		}
	}
	owned := map[*pool]bool{}
	for _, e := range c.Endpoints {
		p := known[e.Address]
		if p == nil || !owned[p] && !p.own() {
			p = newPool(e.Address, c.Config.HTTP2, c.Config.SendProxyHeader, client.secure, c.Stats)
			known[e.Address] = p
		}
		owned[p] = true
		p.idleTimeout.Store(int64(c.Config.IdleTimeout))
		client.pools[e] = p
	}
	return client
}

// Close drains: idle connections are closed, those in use when their exchange ends. Pools that a newer Client shares
// are left alone.
func (c *Client) Close() {
	if c.closed.Swap(true) {
		return
	}
	c.Cluster.Close()
	seen := map[*pool]bool{}
	for _, p := range c.pools {
		if !seen[p] {
			seen[p] = true
			p.disown()
		}
	}
}

// Take begins an exchange for a client's connection on a connection that is there; nil if there is none: Dial makes one.
func (c *Client) Take(e *cluster.Endpoint, from *Origin) Exchange {
	p := c.pools[e]
	if p == nil {
		return nil
	}
	return p.of(from).take()
}

// Dial begins an exchange on a new connection, unless MaxPending requests wait for one already. At the cluster's
// MaxConnections it waits for one that is in use. Failures are of kind ConnectFailed, ConnectTimeout and Overflow.
func (c *Client) Dial(ctx context.Context, e *cluster.Endpoint, from *Origin) (Exchange, error) {
	p := c.pools[e]
	if p == nil {
		return nil, failure.Newf(failure.Internal, "endpoint %s is not of cluster %s", e.Address, c.Cluster.Config.Name)
	}
	if why := c.pend(); why != nil {
		return nil, why
	}
	defer c.pending.Add(-1)
	return p.of(from).dial(ctx, c)
}

// pend counts who waits in, unless MaxPending do. As with Envoy, who makes a connection waits for it too.
func (c *Client) pend() *failure.Error {
	if most := c.Cluster.Config.MaxPending; c.pending.Add(1) > int64(most) {
		c.pending.Add(-1)
		c.Cluster.Stats.Overflows.Add(1)
		return failure.Newf(failure.Overflow, "%d requests wait for a connection", most)
	}
	return nil
}

// DialTCP connects to an endpoint that the cluster picks for a client of these addresses. The endpoint's Active and the
// cluster's ConnectionsActive count the connection until it is closed. Failures are of kind NoEndpoint, ConnectFailed,
// ConnectTimeout and Overflow.
func (c *Client) DialTCP(ctx context.Context, client proxyprotocol.Header) (net.Conn, *cluster.Endpoint, error) {
	e := c.Cluster.PickTCP(client.Source.Addr())
	if e == nil {
		return nil, nil, failure.New(failure.NoEndpoint, nil)
	}
	if why := c.pend(); why != nil {
		return nil, e, why
	}
	defer c.pending.Add(-1)
	if !c.admit() {
		c.Cluster.Stats.Overflows.Add(1)
		return nil, e, failure.Newf(failure.Overflow, "%d connections", c.Cluster.Config.MaxConnections)
	}
	e.Active.Add(1)
	done := func() {
		e.Active.Add(-1)
		c.Cluster.Stats.ConnectionsActive.Add(-1)
	}
	e.Requests.Add(1)
	conn, err := dial(ctx, c.Cluster, e.Address, client, c.secure, forTCP)
	if err != nil {
		e.Failures.Add(1)
		if ctx.Err() == nil {
			c.Cluster.Note(e, 503)
		}
		done()
		return nil, e, err
	}
	c.Cluster.Note(e, 200)
	if stream, ok := conn.(socket.Stream); ok {
		return &streamConn{Stream: stream, done: done}, e, nil
	}
	return &countedConn{Conn: conn, done: done}, e, nil
}

// admit counts a connection in, unless there are MaxConnections.
func (c *Client) admit() bool {
	stats := c.Cluster.Stats
	if stats.ConnectionsActive.Add(1) > int64(c.Cluster.Config.MaxConnections) {
		stats.ConnectionsActive.Add(-1)
		return false
	}
	return true
}

// dial connects within the cluster's ConnectTimeout, and begins with the PROXY protocol's header if the cluster wants it, and
// with a handshake if s is not nil.
func dial(ctx context.Context, c *cluster.Cluster, address config.Address, client proxyprotocol.Header, s *secure, what use) (net.Conn, error) {
	deadline := time.Now().Add(c.Config.ConnectTimeout)
	dialer := net.Dialer{Timeout: c.Config.ConnectTimeout}
	c.Stats.ConnectionsTotal.Add(1)
	conn, err := dialer.DialContext(ctx, address.Network(), address.String())
	if version := c.Config.SendProxyHeader; err == nil && version != 0 {
		// A new socket has room for it: it does not wait.
		if _, err = conn.Write(header(version, client)); err != nil {
			conn.Close()
		}
	}
	if err == nil && s != nil {
		plain := conn
		if conn, err = s.handshake(ctx, plain, deadline, what); err != nil {
			plain.Close()
			if ctx.Err() == nil {
				c.Stats.TLSFailures.Add(1)
			}
		}
	}
	if err == nil {
		return conn, nil
	}
	kind := failure.ConnectFailed
	if ctx.Err() == nil {
		c.Stats.ConnectFailures.Add(1)
		if e, ok := err.(net.Error); ok && e.Timeout() {
			kind = failure.ConnectTimeout
			c.Stats.ConnectTimeouts.Add(1)
		}
	}
	return nil, failure.New(kind, err)
}

func header(version int, client proxyprotocol.Header) []byte {
	if version == 1 {
		return proxyprotocol.AppendV1(nil, client)
	}
	return proxyprotocol.AppendV2(nil, client)
}

// streamConn counts its connection out when it is closed. It is still one of the system's, for splice and the like.
type streamConn struct {
	socket.Stream
	once sync.Once
	done func()
}

func (c *streamConn) Close() error {
	c.once.Do(c.done)
	return c.Stream.Close()
}

// NetConn is the connection that is counted: its bytes are the same.
func (c *streamConn) NetConn() net.Conn { return c.Stream }

// countedConn is streamConn for any connection.
type countedConn struct {
	net.Conn
	once sync.Once
	done func()
}

func (c *countedConn) Close() error {
	c.once.Do(c.done)
	return c.Conn.Close()
}

// CloseWrite is of connections that can be closed by half.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
