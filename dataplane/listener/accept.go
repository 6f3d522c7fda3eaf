package listener

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options are how connections are accepted.
type Options struct {
	// Limit bounds the connections of all listeners, and Clients those of one client; nil is no bound.
	Limit   *Limit
	Clients *Clients
	// Announced tells whether connections say by a header whose they are: then their Handler counts them in Clients. Nil is
	// never. It is asked for each connection.
	Announced func() bool
	// Pressure tells of memory; nil is never any.
	Pressure Pressure
	// Logger hears of panics and of accepts that fail.
	Logger *slog.Logger
	// Stats is asked for each connection where to count it: a socket may change hands.
	Stats func() *Stats
	// Connections counts connections: after Close, none is added. It may be nil.
	Connections *sync.WaitGroup
	// Handle begins to serve a connection. resume lets Run be called again, in a new goroutine.
	Handle func(conn net.Conn, resume func()) Handler
	// Shed owns a connection that is refused, and closes it. It must not wait. Nil closes at once.
	Shed func(conn net.Conn, why Reason)
}

// Pressure is what keeps connections out for want of memory. Any goroutine may ask.
type Pressure interface {
	// Rejecting: connections are closed as they come.
	Rejecting() bool
	// Paused is closed when connections are to be accepted again; nil is that they are accepted.
	Paused() <-chan struct{}
}

// Handler serves one connection.
type Handler interface {
	// Run serves. When it returns Waits it is called again after somebody calls resume, once for each Run, which may be before
	// Run has returned: so a connection that waits long need not hold a goroutine.
	Run() Outcome
	// End is called once, after the last Run, also if that has panicked.
	End()
}

// Outcome is what has become of a connection.
type Outcome int

// The outcomes.
const (
	// Ended: it is to be closed.
	Ended Outcome = iota
	// Waits: it is to be left alone.
	Waits
	// Refused: it is one too many (AtListenerLimit), and is to be shed.
	Refused
	// RefusedClient: it is one too many of its client's (AtClientLimit).
	RefusedClient
)

// Reason is why a connection is refused.
type Reason int

// The reasons.
const (
	// AtLimit: as many as there may be in all are open.
	AtLimit Reason = iota
	// AtListenerLimit: as many as the filter chain may have are open.
	AtListenerLimit
	// AtClientLimit: as many as one client may have are open.
	AtClientLimit
	// NoMemory: memory is scarce.
	NoMemory
	// NoDescriptor: the process or the system has no file descriptor left.
	NoDescriptor
	// Reasons is how many there are.
	Reasons
)

// String is the metrics' label.
func (r Reason) String() string {
	return [...]string{"connections", "listener", "client", "memory", "descriptors"}[r]
}

// Stats counts for one listener, through all its versions.
type Stats struct {
	ConnectionsTotal, ConnectionsActive atomic.Int64
	// Refused are connections that were shed, by Reason. Those that a Handler refused are among ConnectionsTotal, the
	// others are not.
	Refused [Reasons]atomic.Int64
	// Panics are connections that a fault of ours ended.
	Panics, AcceptErrors atomic.Int64
	// NoChain are connections that fit no filter chain; PeekFailed never said a whole ClientHello; HandshakeFailed are
	// TLS handshakes that failed or took too long.
	NoChain, PeekFailed, HandshakeFailed atomic.Int64
	// ClientRefused are those of HandshakeFailed that showed no good certificate.
	ClientRefused atomic.Int64
	// HeaderBad began with a malformed header of the PROXY protocol, or with none where one must be.
	HeaderBad atomic.Int64
}

// maxAcceptDelay bounds the wait after an accept that failed, for lack of kernel memory say.
const maxAcceptDelay = time.Second

// Serve accepts until Close, in a goroutine of its own. It is called once for a socket.
func (s *Socket) Serve(opts Options) {
	if !s.serving.CompareAndSwap(false, true) {
		panic("listener: Serve runs twice on one socket")
	}
	go s.serve(opts)
}

func (s *Socket) serve(opts Options) {
	defer close(s.done)
	s.spare.open()
	defer s.spare.close()
	failing := false
	var end time.Time
	for delay := time.Duration(0); ; {
		if !s.resumed(opts.Pressure) {
			return
		}
		if !end.IsZero() {
			// A deadline that has passed would leave who is in the queue there.
			_ = s.listener.SetDeadline(time.Now().Add(lastCall))
		}
		conn, err := s.listener.Accept()
		switch {
		case err == nil && !end.IsZero() && time.Now().After(end):
			conn.Close()
			return
		case err == nil:
			delay, failing = 0, false
			if tcp, ok := conn.(*net.TCPConn); ok && s.inherited != nil {
				_ = tcp.SetKeepAliveConfig(keepAlive) // as Bind's do by themselves
			}
		case errors.Is(err, os.ErrDeadlineExceeded) && end.IsZero() && !s.others():
			<-s.shut
			end = time.Now().Add(lastCalls)
			continue
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			// ECONNABORTED is one client's, EMFILE and its like pass: go on, not in a hot loop, and log a spell of it once.
			opts.Stats().AcceptErrors.Add(1)
			if !failing {
				opts.Logger.Warn("accept failed", "address", s.Place, "error", cause(err))
				failing = true
			}
			if (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) && s.spare.shed(s.listener) {
				opts.Stats().Refused[NoDescriptor].Add(1)
				continue
			}
			delay = min(max(2*delay, 5*time.Millisecond), maxAcceptDelay)
			select {
			case <-time.After(delay):
			case <-s.shut:
				return
			}
			continue
		}
		stats := opts.Stats()
		peer, counted, why := opts.admit(conn)
		if why != Reasons {
			stats.Refused[why].Add(1)
			opts.shed(conn, why)
			continue
		}
		stats.ConnectionsTotal.Add(1)
		stats.ConnectionsActive.Add(1)
		if opts.Connections != nil {
			opts.Connections.Add(1)
		}
		go (&owned{conn: conn, peer: peer, counted: counted, stats: stats, opts: &opts}).run()
	}
}

func (o *Options) shed(conn net.Conn, why Reason) {
	if o.Shed != nil {
		o.Shed(conn, why)
	} else {
		conn.Close()
	}
}

// resumed waits while connections are not to be accepted; false: the socket closes.
func (s *Socket) resumed(p Pressure) bool {
	if p == nil {
		return true
	}
	for {
		paused := p.Paused()
		if paused == nil {
			return true
		}
		select {
		case <-paused:
		case <-s.shut:
			return false
		}
	}
}

// admit counts a connection, or tells why it must go (Reasons: it need not). The newest goes: who is being served is not
// disturbed. counted: it is among its client's, peer.
func (o *Options) admit(conn net.Conn) (peer netip.Addr, counted bool, why Reason) {
	if o.Pressure != nil && o.Pressure.Rejecting() {
		return peer, false, NoMemory
	}
	if !o.Limit.Acquire() {
		return peer, false, AtLimit
	}
	if o.Clients != nil && (o.Announced == nil || !o.Announced()) {
		peer = o.Clients.key(conn.RemoteAddr())
		if counted = o.Clients.acquire(peer); !counted {
			o.Limit.Release()
			return peer, false, AtClientLimit
		}
	}
	return peer, counted, Reasons
}

// owned is one connection that is served.
type owned struct {
	conn    net.Conn
	peer    netip.Addr
	counted bool
	stats   *Stats
	opts    *Options
	handler Handler
}

// run is a goroutine of a connection. A panic ends the connection and nothing else.
func (o *owned) run() {
	outcome := Ended
	defer func() {
		if value := recover(); value != nil {
			o.stats.Panics.Add(1)
			o.opts.Logger.Error("connection panicked", "peer", o.conn.RemoteAddr(), "panic", value, "stack", string(debug.Stack()))
		}
		switch outcome {
		case Waits:
		case Refused, RefusedClient:
			why := AtListenerLimit
			if outcome == RefusedClient {
				why = AtClientLimit
			}
			o.stats.Refused[why].Add(1)
			conn := o.conn
			if h, ok := o.handler.(interface{ Unserved() net.Conn }); ok {
				// With what the handler has read ahead.
				conn = h.Unserved()
			}
			o.leave()
			o.opts.shed(conn, why)
			o.done()
		default:
			o.conn.Close()
			o.leave()
			o.done()
		}
	}()
	if o.handler == nil {
		o.handler = o.opts.Handle(o.conn, o.resume)
	}
	outcome = o.handler.Run()
}

func (o *owned) resume() { go o.run() }

// leave gives back what the connection took.
func (o *owned) leave() {
	if o.handler != nil {
		o.handler.End()
	}
	o.stats.ConnectionsActive.Add(-1)
	o.opts.Limit.Release()
	if o.counted {
		o.opts.Clients.release(o.peer)
	}
}

// done is the last of a connection.
func (o *owned) done() {
	if o.opts.Connections != nil {
		o.opts.Connections.Done()
	}
}
