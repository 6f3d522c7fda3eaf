// Package listener takes connections from the network: it binds sockets, accepts, peeks at what a client says first, and
// chooses the filter chain.
//
// In: config's addresses and chain matches. Out: connections with their ClientHello read but not consumed, and the
// place of the chain that takes them. It must not know what a chain does.
package listener

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

// Place is what a socket is bound by: listeners that agree in it can share or inherit the socket.
type Place struct {
	Address    netip.AddrPort
	IPv4Compat bool
	ReusePort  bool
}

// PlaceOf is a listener's.
func PlaceOf(l *config.Listener) Place {
	return Place{Address: l.Address, IPv4Compat: l.IPv4Compat, ReusePort: l.ReusePort}
}

// Socket is one bound socket. It takes connections into the kernel's queue from Bind on, and hands them out by Serve.
type Socket struct {
	Place Place
	tcp   *net.TCPListener

	serving atomic.Bool
	// done is closed when Serve has returned.
	done     chan struct{}
	shutOnce sync.Once
	closing  atomic.Bool
}

// Bind opens a socket. The error says which address, and is the system's (EADDRINUSE and the like).
func Bind(place Place) (*Socket, error) {
	network := "tcp6"
	if place.Address.Addr().Is4() {
		network = "tcp4"
	}
	lc := net.ListenConfig{
		// Keep-alive probes are the chains' business: an idle peer that is gone must not hold a connection for ever.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 5},
		Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			control := raw.Control(func(fd uintptr) { err = setOptions(int(fd), place) })
			return errors.Join(control, err)
		},
	}
	l, err := lc.Listen(context.Background(), network, place.Address.String())
	if err != nil {
		return nil, fmt.Errorf("listener: bind %s: %w", place.Address, cause(err))
	}
	return &Socket{Place: place, tcp: l.(*net.TCPListener), done: make(chan struct{})}, nil
}

func setOptions(fd int, place Place) error {
	if place.ReusePort {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return os.NewSyscallError("SO_REUSEPORT", err)
		}
	}
	if place.Address.Addr().Is6() {
		only := 1
		if place.IPv4Compat {
			only = 0
		}
		// Go sets it by the network's name before this runs; the system's default would be a surprise.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return os.NewSyscallError("IPV6_V6ONLY", err)
		}
	}
	return nil
}

// cause leaves out the address that net repeats.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Addr is where the socket is bound, with the port that the system chose for port 0.
func (s *Socket) Addr() netip.AddrPort {
	return s.tcp.Addr().(*net.TCPAddr).AddrPort()
}

// Options are how connections are accepted.
type Options struct {
	// Limit bounds the connections of all listeners; nil is no bound.
	Limit *Limit
	// Logger hears of panics and of accepts that fail.
	Logger *slog.Logger
	// Stats is asked for each connection where to count it: a socket may change hands.
	Stats func() *Stats
	// Connections counts the goroutines of connections: after Close, none is added. It may be nil.
	Connections *sync.WaitGroup
	// Handle owns a connection: it closes it before it returns. Each call has its own goroutine.
	Handle func(conn net.Conn)
}

// Stats counts for one listener, through all its versions.
type Stats struct {
	ConnectionsTotal, ConnectionsActive atomic.Int64
	// Refused are connections closed at the limit; Panics are connections that a fault of ours ended.
	Refused, Panics, AcceptErrors atomic.Int64
	// NoChain are connections that fit no filter chain; PeekFailed never said a whole ClientHello; HandshakeFailed are
	// TLS handshakes that failed or took too long.
	NoChain, PeekFailed, HandshakeFailed atomic.Int64
}

// maxAcceptDelay bounds the wait after an accept that failed, for lack of descriptors say.
const maxAcceptDelay = time.Second

// Serve accepts until Close. It runs once for a socket.
func (s *Socket) Serve(opts Options) {
	if !s.serving.CompareAndSwap(false, true) {
		panic("listener: Serve runs twice on one socket")
	}
	defer close(s.done)
	delay := time.Duration(0)
	for {
		conn, err := s.tcp.AcceptTCP()
		switch {
		case err == nil:
			delay = 0
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			// EMFILE and its like pass, and ECONNABORTED is one client's: go on, not in a hot loop.
			opts.Stats().AcceptErrors.Add(1)
			delay = min(max(2*delay, 5*time.Millisecond), maxAcceptDelay)
			opts.Logger.Warn("accept failed", "address", s.Place.Address, "error", cause(err), "again in", delay)
			time.Sleep(delay)
			if s.closing.Load() {
				return
			}
			continue
		}
		stats := opts.Stats()
		if !opts.Limit.acquire() {
			stats.Refused.Add(1)
			conn.Close()
			continue
		}
		stats.ConnectionsTotal.Add(1)
		stats.ConnectionsActive.Add(1)
		if opts.Connections != nil {
			opts.Connections.Add(1)
		}
		go own(conn, stats, &opts)
	}
}

// own is the goroutine of one connection. A panic ends the connection and nothing else.
func own(conn net.Conn, stats *Stats, opts *Options) {
	defer func() {
		if value := recover(); value != nil {
			stats.Panics.Add(1)
			opts.Logger.Error("connection panicked", "peer", conn.RemoteAddr(), "panic", value, "stack", string(debug.Stack()))
		}
		conn.Close()
		stats.ConnectionsActive.Add(-1)
		opts.Limit.release()
		if opts.Connections != nil {
			opts.Connections.Done()
		}
	}()
	opts.Handle(conn)
}

// lastCall is how long a closing socket goes on accepting what waits in the kernel's queue: to close at once would reset
// those clients.
const lastCall = 5 * time.Millisecond

// Close stops accepting and closes the socket; connections accepted go on. What waits in the queue is accepted first.
func (s *Socket) Close() {
	s.shutOnce.Do(func() {
		s.closing.Store(true)
		if s.serving.Load() {
			_ = s.tcp.SetDeadline(time.Now().Add(lastCall))
			<-s.done
		}
		s.tcp.Close()
	})
}

// Limit bounds connections over many sockets. A nil Limit has no bound.
type Limit struct {
	max    int64
	active atomic.Int64
}

// NewLimit is a bound of n connections; 0 is DefaultConnections.
func NewLimit(n int) *Limit {
	if n <= 0 {
		n = DefaultConnections()
	}
	return &Limit{max: int64(n)}
}

// Active is the number of connections now; Max is the bound.
func (l *Limit) Active() int64 { return l.active.Load() }

// Max is the bound.
func (l *Limit) Max() int64 { return l.max }

func (l *Limit) acquire() bool {
	if l == nil {
		return true
	}
	if l.active.Add(1) > l.max {
		l.active.Add(-1)
		return false
	}
	return true
}

func (l *Limit) release() {
	if l != nil {
		l.active.Add(-1)
	}
}

// DefaultConnections is what the process's descriptors allow: a proxied connection takes two, and some are kept for
// files and sockets; between 256 and 1,000,000.
func DefaultConnections() int {
	const low, high, kept = 256, 1_000_000, 256
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return low
	}
	return int(min(max(int64(min(limit.Cur, 1<<40))-kept, 2*low)/2, high))
}
