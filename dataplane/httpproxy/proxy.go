package httpproxy

import (
	"sync/atomic"

	"github.com/sluice-proxy/sluice/dataplane/accesslog"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Options are a Proxy's. Read-only after New.
type Options struct {
	Config *config.HTTP
	// State is asked once for each request; it must not be nil, and neither must what it returns.
	State func() *State
	// Logs get one record each for every request.
	Logs []*accesslog.Logger
	// Stats are counted in; nil makes new ones.
	Stats *Stats
}

// Stats counts requests of a listener, or of whoever shares them.
type Stats struct {
	Requests, RequestsActive atomic.Int64
	// Status counts answers by class: Status[2] is 2xx. Status[0] are requests without an answer.
	Status [6]atomic.Int64
	// BytesReceived and BytesSent are of bodies.
	BytesReceived, BytesSent atomic.Int64
}

// Proxy serves requests as one HTTP connection manager is configured to. Any goroutine may use it.
type Proxy struct {
	options Options
}

// New makes a Proxy.
func New(options Options) *Proxy { return &Proxy{options: options} }

// Stats is what is counted.
func (p *Proxy) Stats() *Stats { return p.options.Stats }

// Serve is one exchange: when it returns, the request is answered or broken off.
func (p *Proxy) Serve(s Stream, c *Conn) {}

// Refused logs and counts a request that a codec has answered by itself. It is for the codecs' Refused option.
func (p *Proxy) Refused(c *Conn, req *message.Request, why *failure.Error) {}
