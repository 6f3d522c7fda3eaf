package httpproxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/accesslog"
	"github.com/sluice-proxy/sluice/dataplane/alarm"
	"github.com/sluice-proxy/sluice/dataplane/cluster"
	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/failure"
	"github.com/sluice-proxy/sluice/dataplane/message"
	"github.com/sluice-proxy/sluice/dataplane/upstream"
)

// goneInterval is how often a client is asked whether it is still there while its request is under way: the goroutine
// that serves it waits for the upstream then, and does not read.
const goneInterval = time.Second

// exchange is one request on its way. It is used again.
type exchange struct {
	p *Proxy
	s Stream
	c *Conn

	// Only the goroutine that serves.
	start time.Time
	req   *message.Request
	// random is the request's draw: for the shares of rules and of clusters.
	random uint64
	// hasBody: the request has one.
	hasBody bool
	// grpc: it is a gRPC call, and answers of our own must be gRPC's.
	grpc bool
	// responded: a final head was handed to the stream, for reply.
	responded bool
	sendErr   error
	// local is an answer of our own, and fields its header.
	local  message.Response
	fields [6]message.Field
	// changes are the route's, for the answer's header; nil is none.
	changes *config.HeaderChanges
	// mirrors are copies of the request.
	mirrors []*mirror
	// values are those of the headers that are being changed.
	values []string
	// scratch holds what we write into heads.
	scratch []byte
	pump    *pump
	// cookie is a Set-Cookie that the answer is to have; empty is none.
	cookie string
	// answered is the exchange whose head is to be logged.
	answered upstream.Exchange
	record   accesslog.Record
	address  config.Address
	stats    *cluster.Stats
	// cluster and endpoint are those of the try under way.
	cluster  *cluster.Cluster
	endpoint *cluster.Endpoint
	sent     int64
	// watched tells when the client goes away, and is to call clientGone; nil is not watched.
	watched    gone
	clientGone func()

	// received counts the request's body; only its reader until it has ended.
	received int64
	// bodyEnd is when the request's body had been read, in nanoseconds since start; -1 before.
	bodyEnd atomic.Int64
	// activity is when something moved last, in nanoseconds since start. Any goroutine.
	activity atomic.Int64
	// tunnel: the protocol was switched, and bytes go both ways. Any goroutine.
	tunnel atomic.Bool
	// cause is 1 + the failure.Kind for which the exchange was broken off; 0 is none. Any goroutine.
	cause atomic.Int32

	// alarm calls look. Read-only.
	alarm *alarm.Alarm
	// routeTimeout and idleTimeout are set before the alarm is.
	routeTimeout, idleTimeout time.Duration
	// upgrading, set before the alarm is: as with Envoy, such a request does not end before its connection does.
	upgrading bool
	// tryTimeout is for each try until its answer begins; 0 is none. tryEnd is when the one under way has taken too long, in
	// nanoseconds since start, 0 if it may go on: it is taken to 0 under mu alone. tryOver: it has taken too long.
	tryTimeout time.Duration
	tryEnd     atomic.Int64
	tryOver    atomic.Bool

	// retry is how the request is sent again, and flag why it was not, for the log.
	retry retries
	flag  string

	mu sync.Mutex
	// Guarded by mu: what is to be broken off.
	up     upstream.Exchange
	cancel context.CancelFunc
	begun  bool
	// tryAnswered: the answer to the try under way has begun.
	tryAnswered bool
}

// gone is a stream that tells by itself when its client goes away; others are asked (Gone).
type gone interface {
	OnGone(f func())
	// StopGone is false if the function was called.
	StopGone() bool
}

func (p *Proxy) begin(s Stream, c *Conn) *exchange {
	x, _ := p.exchanges.Get().(*exchange)
	if x == nil {
		x = &exchange{p: p}
		x.alarm = alarm.New(x.look)
		x.clientGone = func() { x.breakOff(failure.ClientGone) }
	}
	x.s, x.c = s, c
	x.start = time.Now()
	x.hasBody, x.grpc, x.responded, x.begun, x.sendErr = false, false, false, false, nil
	x.sent, x.received = 0, 0
	x.address, x.stats, x.pump, x.changes = config.Address{}, nil, nil, nil
	x.scratch, x.cookie, x.flag = x.scratch[:0], "", ""
	x.cause.Store(0)
	x.tryOver.Store(false)
	x.tunnel.Store(false)
	x.activity.Store(0)
	x.bodyEnd.Store(-1)
	if s != nil {
		x.req = s.Request()
		x.hasBody = x.req.ContentLength != 0
		x.grpc = x.req.GRPC()
		if !x.hasBody {
			x.bodyEnd.Store(0)
		}
	}
	x.record = accesslog.Record{
		Start: x.start, Request: x.req, Peer: c.Peer, Local: c.Local, Remote: c.Peer, Socket: c.Socket, Listener: c.Listener, Chain: c.Chain,
	}
	if c.Direct.IsValid() || c.Socket != "" {
		x.record.Peer = c.Direct
	}
	return x
}

// end counts and logs.
func (x *exchange) end() {
	x.alarm.Clear()
	clean := x.watched == nil || x.watched.StopGone()
	status := x.record.Status
	stats := x.p.stats
	stats.Status[min(status/100, 5)].Add(1)
	stats.BytesReceived.Add(x.received)
	stats.BytesSent.Add(x.sent)
	x.log()
	if x.answered != nil {
		x.answered.Close(true)
		x.answered = nil
	}
	if !clean {
		// clientGone may still be at work on it.
		return
	}
	clear(x.mirrors)
	x.mirrors = x.mirrors[:0]
	x.s, x.c, x.req, x.up, x.cancel, x.pump, x.watched = nil, nil, nil, nil, nil, nil, nil
	x.cluster, x.endpoint = nil, nil
	x.record = accesslog.Record{}
	x.p.exchanges.Put(x)
}

// abandon lets go of what a request holds whose serving ended by a panic: nothing looks after it any more, and its upstream
// connection is not used again. The exchange is not either, since others may still be at work on it.
func (x *exchange) abandon() {
	x.alarm.Clear()
	if x.watched != nil {
		x.watched.StopGone()
	}
	x.mu.Lock()
	up, cancel := x.up, x.cancel
	x.up, x.cancel = nil, nil
	x.mu.Unlock()
	if up != nil {
		up.Close(false)
	}
	if cancel != nil {
		cancel()
	}
	if x.answered != nil {
		x.answered.Close(false)
		x.answered = nil
	}
	x.p.stats.Status[5].Add(1)
}

// watch begins to look after the time, and after the client.
func (x *exchange) watch(r *config.Route) {
	if x.routeTimeout, x.upgrading = r.Timeout, x.req.Upgrade != ""; x.upgrading {
		// Its timeout begins when the client has sent everything, which is never.
		x.routeTimeout = 0
	}
	x.idleTimeout = x.p.config.StreamIdleTimeout
	if r.IdleTimeout != nil {
		x.idleTimeout = *r.IdleTimeout
	}
	if s, ok := x.s.(gone); ok {
		x.watched = s
		s.OnGone(x.clientGone)
	}
	x.alarm.Set(x.next(x.start))
}

// next is when to look again.
func (x *exchange) next(now time.Time) time.Time {
	at := now.Add(goneInterval)
	if x.tunnel.Load() {
		// Who carries bytes sees by itself when the client goes.
		if at = (time.Time{}); x.idleTimeout > 0 {
			at = x.start.Add(time.Duration(x.activity.Load()) + x.idleTimeout)
		}
		return at
	}
	if end := x.bodyEnd.Load(); x.routeTimeout > 0 && end >= 0 {
		if t := x.start.Add(time.Duration(end) + x.routeTimeout); t.Before(at) {
			at = t
		}
	}
	if x.idleTimeout > 0 {
		if t := x.start.Add(time.Duration(x.activity.Load()) + x.idleTimeout); t.Before(at) {
			at = t
		}
	}
	if end := x.tryEnd.Load(); end > 0 {
		if t := x.start.Add(time.Duration(end)); t.Before(at) {
			at = t
		}
	}
	return at
}

// look is the alarm's: it breaks off what takes too long, or is for nobody.
func (x *exchange) look() time.Time {
	now := time.Now()
	since := int64(now.Sub(x.start))
	end := x.bodyEnd.Load()
	switch {
	case x.routeTimeout > 0 && end >= 0 && since >= end+int64(x.routeTimeout):
		x.breakOff(failure.ResponseTimeout)
	case x.idleTimeout > 0 && since-x.activity.Load() >= int64(x.idleTimeout):
		if end < 0 || x.upgrading {
			x.breakOff(failure.RequestIdle)
		} else {
			x.breakOff(failure.StreamIdle)
		}
	case !x.tunnel.Load() && x.gone():
		x.breakOff(failure.ClientGone)
	default:
		if try := x.tryEnd.Load(); try > 0 && since >= try {
			x.breakTry(try)
		}
		return x.next(now)
	}
	return time.Time{}
}

func (x *exchange) gone() bool {
	s, ok := x.s.(interface{ Gone() bool })
	return ok && s.Gone()
}

// breakOff ends the exchange for a reason; the first one counts. Any goroutine.
func (x *exchange) breakOff(kind failure.Kind) {
	if !x.cause.CompareAndSwap(0, int32(kind)+1) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.up != nil {
		x.up.Close(false)
	}
	if x.cancel != nil {
		x.cancel()
	}
	if x.begun || kind == failure.ClientGone {
		x.s.Reset()
	} else {
		// Who reads the request's body is to end; the answer can still be sent.
		_ = x.s.SetReadDeadline(time.Unix(1, 0))
	}
}

// attach makes an exchange with an upstream the one to be broken off; false if it is too late.
func (x *exchange) attach(up upstream.Exchange) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause.Load() != 0 {
		return false
	}
	x.up, x.tryAnswered = up, false
	return true
}

func (x *exchange) detach() {
	x.mu.Lock()
	x.up = nil
	x.tryEnd.Store(0)
	if x.cancel != nil {
		x.cancel()
		x.cancel = nil
	}
	x.mu.Unlock()
}

// tryBegins starts the time of a try whose request is sent to its end, unless its answer has begun already.
func (x *exchange) tryBegins() {
	if x.tryTimeout <= 0 {
		return
	}
	now := time.Now()
	x.mu.Lock()
	timed := !x.tryAnswered
	if timed {
		x.tryEnd.Store(int64(now.Sub(x.start) + x.tryTimeout))
	}
	x.mu.Unlock()
	if timed {
		x.alarm.Set(x.next(now))
	}
}

// tryEnds tells whether the try that is answered has taken too long; else it may take as long as it wants from now on.
func (x *exchange) tryEnds() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tryEnd.Store(0)
	x.tryAnswered = true
	return x.tryOver.Load()
}

// breakTry ends the try that is to end then.
func (x *exchange) breakTry(end int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.tryEnd.CompareAndSwap(end, 0) && x.up != nil {
		x.tryOver.Store(true)
		x.up.Close(false)
	}
}

// context is for dialling.
func (x *exchange) context() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause.Load() != 0 {
		cancel()
	}
	x.cancel = cancel
	return ctx
}

// touch notes that something moved.
func (x *exchange) touch() {
	if x.idleTimeout > 0 {
		x.activity.Store(int64(time.Since(x.start)))
	}
}

// sinceRequest is how long the upstream has had the whole request; 0 if it has not.
func (x *exchange) sinceRequest() time.Duration {
	if len(x.p.options.Logs) == 0 {
		return 0
	}
	if end := x.bodyEnd.Load(); end >= 0 {
		return time.Since(x.start) - time.Duration(end)
	}
	return 0
}
