package httpproxy

import (
	"net"
	"net/netip"
	"sync"
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
	// LocalAddress stands in X-Forwarded-For for a client on the loopback, as with Envoy; if it is not valid, it is the
	// machine's first IPv4 address.
	LocalAddress netip.Addr
}

// Stats counts requests of a listener, or of whoever shares them.
type Stats struct {
	Requests, RequestsActive atomic.Int64
	// UpgradesActive are connections, or streams, that have switched their protocol and speak it still.
	UpgradesActive, UpgradesTotal atomic.Int64
	// Status counts answers by class: Status[2] is 2xx. Status[0] are requests without an answer.
	Status [6]atomic.Int64
	// BytesReceived and BytesSent are of bodies.
	BytesReceived, BytesSent atomic.Int64
}

// Proxy serves requests as one HTTP connection manager is configured to. Any goroutine may use it.
type Proxy struct {
	options Options
	config  *config.HTTP
	stats   *Stats
	// exchanges are *exchange, for use again.
	exchanges sync.Pool
}

// New makes a Proxy.
func New(options Options) *Proxy {
	if options.Stats == nil {
		options.Stats = &Stats{}
	}
	if !options.LocalAddress.IsValid() {
		options.LocalAddress = localAddress()
	}
	return &Proxy{options: options, config: options.Config, stats: options.Stats}
}

// Stats is what is counted.
func (p *Proxy) Stats() *Stats { return p.stats }

// localAddress is the first IPv4 address of an interface that is up and not the loopback.
var localAddress = sync.OnceValue(func() netip.Addr {
	interfaces, err := net.Interfaces()
	if err != nil {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil {
				ip, _ := netip.AddrFromSlice(n.IP.To4())
				return ip
			}
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
})

// Overloaded answers a request for which there is no memory; nothing else is done for it.
func (p *Proxy) Overloaded(s Stream, c *Conn) {
	p.stats.Requests.Add(1)
	x := p.begin(s, c)
	why := failure.New(failure.Overloaded, nil)
	x.failed(why)
	x.reply(why)
	x.end()
}

// Refused logs and counts a request that a codec has answered by itself. It is for the codecs' Refused option.
func (p *Proxy) Refused(c *Conn, req *message.Request, why *failure.Error) {
	p.stats.Requests.Add(1)
	x := p.begin(nil, c)
	x.req = req
	x.record.Request = req
	x.record.Status = why.Status()
	x.failed(why)
	x.end()
}
