package http2

//lint:file-ignore SA1019 net/http offers no codec to a proxy: x/net stays until this room has cores of its own.

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// ServerOptions are one downstream connection's. Zero values are x/net/http2's defaults, unless said otherwise.
type ServerOptions struct {
	// MaxHeaderBytes limits a request's field section, as RFC 9113 counts it (name, value and 32 bytes each): 431.
	MaxHeaderBytes int
	// MaxHeaderCount limits the number of its fields: 431; 0 is no limit.
	MaxHeaderCount int
	// MaxConcurrentStreams is announced; a client above it gets its streams reset.
	MaxConcurrentStreams uint32
	// InitialStreamWindow and InitialConnectionWindow are in bytes: what a client may send before it is read.
	InitialStreamWindow, InitialConnectionWindow uint32
	// IdleTimeout ends a connection without streams by GOAWAY; 0 is never.
	IdleTimeout time.Duration
	// WriteTimeout ends a connection whose socket takes no byte for so long; 0 is never.
	WriteTimeout time.Duration
	// Drain, once closed, sends GOAWAY: streams in flight go on, then the connection ends. It may be nil.
	Drain <-chan struct{}
	// Refused hears of a request that is answered here, since it breaks the protocol; req is what was understood of
	// it. It may be nil.
	Refused func(req *message.Request, why *failure.Error)
	// Panicked hears of a panic in handle; the stream is reset, and the connection goes on. It may be nil.
	Panicked func(value any, stack []byte)
}

// discard takes x/net's own log lines: what matters reaches Refused, or a stream's caller.
var discard = log.New(io.Discard, "", 0)

// ServeConn serves a connection until it ends, and closes it. The caller's goroutine is its owner; handle runs in one
// goroutine for each stream, and all of them have returned when ServeConn does. A handle that returns without Respond
// has its stream reset.
func ServeConn(conn net.Conn, opts ServerOptions, handle func(s *ServerStream)) {
	server := &xhttp2.Server{
		MaxConcurrentStreams:         opts.MaxConcurrentStreams,
		MaxUploadBufferPerStream:     clampWindow(opts.InitialStreamWindow),
		MaxUploadBufferPerConnection: clampWindow(opts.InitialConnectionWindow),
		IdleTimeout:                  opts.IdleTimeout,
		WriteByteTimeout:             opts.WriteTimeout,
		// The listener's TLS decides on ciphers; Go's defaults hold none that RFC 9113 prohibits.
	}
	// x/net adds 320 bytes for HTTP/1's sake to the limit of http.Server: taken off again.
	base := &http.Server{ErrorLog: discard}
	if opts.MaxHeaderBytes > 0 {
		base.MaxHeaderBytes = max(1, opts.MaxHeaderBytes-320)
	}
	if err := xhttp2.ConfigureServer(base, server); err != nil {
		// Only a bad TLS configuration can fail, and there is none.
		conn.Close()
		return
	}
	_, secure := conn.(interface{ ConnectionState() tls.ConnectionState })
	var streams sync.WaitGroup
	greeted, ended := make(chan struct{}), make(chan struct{})
	greet := sync.OnceFunc(func() { close(greeted) })
	// x/net calls this once the preface is read: before, the connection is not yet known to Shutdown.
	base.ConnState = func(net.Conn, http.ConnState) { greet() }
	if opts.Drain != nil {
		streams.Go(func() {
			select {
			case <-opts.Drain:
			case <-ended:
				return
			}
			select {
			case <-greeted:
				// Shutdown of a server without listeners only tells its connections.
				_ = base.Shutdown(context.Background())
			case <-ended:
			}
		})
	}
	server.ServeConn(conn, &xhttp2.ServeConnOpts{
		BaseConfig: base,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			streams.Add(1)
			defer streams.Done()
			serveStream(w, r, secure, &opts, handle)
		}),
	})
	close(ended)
	streams.Wait()
}

func serveStream(w http.ResponseWriter, r *http.Request, secure bool, opts *ServerOptions, handle func(s *ServerStream)) {
	s := &ServerStream{w: w, r: r}
	if why := s.read(secure, opts); why != nil {
		if opts.Refused != nil {
			opts.Refused(&s.req, why)
		}
		s.refuse(why)
		return
	}
	defer func() {
		if value := recover(); value != nil && opts.Panicked != nil {
			opts.Panicked(value, debug.Stack())
		}
		if s.finish() {
			// What x/net would otherwise do when a handler returns is to end the stream as if it were whole.
			panic(http.ErrAbortHandler)
		}
	}()
	handle(s)
}

func clampWindow(n uint32) int32 { return int32(min(n, math.MaxInt32)) }

func badRequest(format string, args ...any) *failure.Error {
	return &failure.Error{Kind: failure.BadRequest, Err: fmt.Errorf(format, args...)}
}
