// Package upstream holds the connections to a cluster's endpoints: pools, dialling, and one exchange at a time on
// HTTP/1.1, many on HTTP/2.
//
// In: a cluster. Out: exchanges, and plain connections for TCP. It must not know routes, nor the client.
package upstream

import (
	"context"
	"net"

	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Exchange is one request and its answer on an upstream connection. One goroutine may write (WriteRequest, Write,
// Flush, End) while another reads (ReadResponse, Read). Failures are *failure.Error.
type Exchange interface {
	// WriteRequest sends the head; end says that no body follows.
	WriteRequest(head *message.Request, end bool) error
	// Write sends a part of the body; it may wait for the upstream.
	Write(p []byte) (int, error)
	// Flush sends what is buffered.
	Flush() error
	// End ends the request's body, and flushes; trailer may be nil.
	End(trailer message.Header) error
	// ReadResponse reads a head. Those of status 1xx come one by one before the final one.
	ReadResponse() (*message.Response, error)
	// Read reads the answer's body, decoded. At io.EOF, which may come with the last bytes, the head's Trailer is filled.
	Read(p []byte) (int, error)
	// Close ends the exchange. With reuse, when the whole answer was read and the whole request was written, the
	// connection may serve another; else the exchange is broken off. Close(false) may be called by any goroutine and
	// wakes the others; Close twice is harmless until the exchange is taken again.
	Close(reuse bool)
}

// Client is the connections of one version of a cluster. Any goroutine may use it.
type Client struct {
	// Cluster is who is chosen from.
	Cluster *cluster.Cluster
}

// NewClient makes the connections' keeper of a version of a cluster. Pools of endpoints that stay are taken from old,
// which may be nil, and which may still be used by requests that began with it. Close old when it is no longer handed
// out: it lets go of the pools that were not taken.
func NewClient(c *cluster.Cluster, old *Client) *Client { return &Client{Cluster: c} }

// Close drains: idle connections are closed, those in use when their exchange ends. Pools that a newer Client has taken
// are left alone.
func (c *Client) Close() {}

// DialTCP connects to an endpoint that the cluster picks. The endpoint's Active counts the connection until it is
// closed. The failure is a *failure.Error.
func (c *Client) DialTCP(ctx context.Context) (net.Conn, *cluster.Endpoint, error) {
	panic("upstream: follows")
}
