package http1

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// ServerOptions are one downstream connection's.
type ServerOptions struct {
	// MaxHeaderBytes limits a request's line and header section: 431; 0 is 60 KiB.
	MaxHeaderBytes int
	// MaxHeaderCount limits the number of header lines: 431; 0 is 100.
	MaxHeaderCount int
	// IdleTimeout closes a connection without a request; 0 is never.
	IdleTimeout time.Duration
	// RequestHeadersTimeout is from a request's first byte to the end of its head: 408; 0 is never.
	RequestHeadersTimeout time.Duration
	// RequestTimeout is from a request's first byte to its last: 408, by failing Read; 0 is never.
	RequestTimeout time.Duration
	// MaxConnectionDuration ends a connection of that age after the request in flight; 0 is never.
	MaxConnectionDuration time.Duration
	// AcceptHTTP10 serves HTTP/1.0; else its requests get 426.
	AcceptHTTP10 bool
	// RejectUnderscores answers 400 to a header name with an underscore.
	RejectUnderscores bool
	// Secure requests have the scheme https.
	Secure bool
	// Draining, once true, ends each connection with its next answer. A connection that waits for a request sees it when
	// its read deadline passes: conn.SetReadDeadline(time.Unix(1, 0)) wakes it, and is harmless at any other moment. It
	// may be nil.
	Draining *atomic.Bool
	// Prefix are bytes that were read from the connection before.
	Prefix []byte
	// Refused hears of a request that is answered here, since it breaks the protocol or came too slowly; req is what was
	// understood of it, and valid during the call. It may be nil.
	Refused func(req *message.Request, why *failure.Error)
	// Panicked hears of a panic in handle; the connection is closed. It may be nil.
	Panicked func(value any, stack []byte)
}

// ServeConn serves a connection in the caller's goroutine until it ends, and closes it. handle is called once for each
// request, and has given the stream up when it returns.
func ServeConn(conn net.Conn, opts ServerOptions, handle func(s *ServerStream)) {
	conn.Close() // the codec follows
}
