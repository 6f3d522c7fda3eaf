package http2

//lint:file-ignore SA1019 net/http offers no codec to a proxy: x/net stays until this room has cores of its own.

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// ClientOptions are one upstream connection's.
type ClientOptions struct {
	// IdleTimeout closes a connection without streams; 0 is never.
	IdleTimeout time.Duration
	// MaxHeaderBytes limits an answer's field section, as RFC 9113 counts it; 0 is 60 KiB.
	MaxHeaderBytes uint32
	// WriteTimeout closes a connection whose socket takes no byte for so long; 0 is never.
	WriteTimeout time.Duration
}

// ClientConn is one connection to an upstream. Any goroutine may use it.
type ClientConn struct {
	conn *xhttp2.ClientConn
	// opened counts the streams begun.
	opened atomic.Int64
}

// NewClientConn sends the preface on a connection on which HTTP/2 was agreed, and owns it from then on: Close and
// Shutdown end it, and so does the upstream.
func NewClientConn(conn net.Conn, opts ClientOptions) (*ClientConn, error) {
	if opts.MaxHeaderBytes == 0 {
		opts.MaxHeaderBytes = 60 << 10
	}
	transport := &xhttp2.Transport{
		AllowHTTP:          true,
		DisableCompression: true,
		IdleConnTimeout:    opts.IdleTimeout,
		MaxHeaderListSize:  opts.MaxHeaderBytes,
		WriteByteTimeout:   opts.WriteTimeout,
	}
	c, err := transport.NewClientConn(conn)
	if err != nil {
		return nil, fmt.Errorf("http2: preface: %w", err)
	}
	return &ClientConn{conn: c}, nil
}

// CanTakeNewRequest tells whether NewExchange would find room: the connection lives, got no GOAWAY, and the upstream
// allows one stream more. Until its SETTINGS come, 100 are assumed.
func (c *ClientConn) CanTakeNewRequest() bool { return c.conn.CanTakeNewRequest() }

// Active is the number of streams under way.
func (c *ClientConn) Active() int {
	state := c.conn.State()
	return state.StreamsActive + state.StreamsReserved + state.StreamsPending
}

// Closed tells whether the connection is over, for new streams and for old.
func (c *ClientConn) Closed() bool { return c.conn.State().Closed }

// Ping waits for the upstream's answer to a PING; it fails if the connection does.
func (c *ClientConn) Ping(ctx context.Context) error { return c.conn.Ping(ctx) }

// NewExchange begins an exchange. Nothing is sent before its WriteRequest; if the connection can take no stream then,
// that fails with a failure that may be retried.
func (c *ClientConn) NewExchange() *ClientStream {
	ctx, cancel := context.WithCancel(context.Background())
	return &ClientStream{
		conn:     c,
		ctx:      ctx,
		cancel:   cancel,
		early:    make(chan *message.Response, maxEarly),
		answered: make(chan struct{}),
	}
}

// Shutdown sends GOAWAY, waits for the streams under way until ctx ends, and closes.
func (c *ClientConn) Shutdown(ctx context.Context) error { return c.conn.Shutdown(ctx) }

// Close closes at once; streams under way fail with failure.Reset.
func (c *ClientConn) Close() error { return c.conn.Close() }
