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
	"net"
	"net/netip"
	"os"
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
	// Path is a unix socket's, in place of an Address, and Mode its permissions; 0 is what the process's umask leaves.
	Path string
	Mode uint32
}

// String is the address, or the path.
func (p Place) String() string {
	if p.Path != "" {
		return p.Path
	}
	return p.Address.String()
}

// PlaceOf is a listener's.
func PlaceOf(l *config.Listener) Place {
	return Place{Address: l.Address, IPv4Compat: l.IPv4Compat, ReusePort: l.ReusePort, Path: l.Path, Mode: l.Mode}
}

// Socket is one bound socket. It takes connections into the kernel's queue from Bind on, and hands them out by Serve.
type Socket struct {
	Place    Place
	listener acceptor
	// file is a unix socket's, for Close to remove if it is ours; else nil.
	file os.FileInfo

	serving atomic.Bool
	// done is closed when Serve has returned, shut when Close has begun.
	done, shut chan struct{}
	shutOnce   sync.Once
	// spare is only Serve's.
	spare spare
	// inherited is where it comes from if somebody else has made it, with options of his own; kept: it is the service
	// manager's. Read-only after Bind.
	inherited *Inherited
	kept      bool
	// shared: another process has it too, and goes on when we close.
	shared atomic.Bool
}

// keepAlive probes are the chains' business: an idle peer that is gone must not hold a connection for ever.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 5}

func newSocket(place Place, l acceptor, file os.FileInfo) *Socket {
	return &Socket{Place: place, listener: l, file: file, done: make(chan struct{}), shut: make(chan struct{})}
}

// Bind opens a socket. The error says which address, and is the system's (EADDRINUSE and the like).
func Bind(place Place) (*Socket, error) {
	var l acceptor
	var file os.FileInfo
	var err error
	if place.Path != "" {
		l, file, err = listenUnix(&net.ListenConfig{}, place)
	} else {
		l, err = listenTCP(place)
	}
	if err != nil {
		return nil, err
	}
	return newSocket(place, l, file), nil
}

func listenTCP(place Place) (acceptor, error) {
	network := "tcp6"
	if place.Address.Addr().Is4() {
		network = "tcp4"
	}
	lc := net.ListenConfig{
		KeepAliveConfig: keepAlive,
		Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			control := raw.Control(func(fd uintptr) { err = setOptions(int(fd), place) })
			return errors.Join(control, err)
		},
	}
	// As Envoy's (enable_mptcp): Go would take multipath TCP, whose sockets lack options that ours need (lastClient).
	lc.SetMultipathTCP(false)
	return listen(&lc, network, place.Address.String())
}

func listen(lc *net.ListenConfig, network, address string) (acceptor, error) {
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("listener: bind %s: %w", address, cause(err))
	}
	return l.(acceptor), nil
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

// Addr is where the socket is bound, with the port that the system chose for port 0. It is zero of a unix socket.
func (s *Socket) Addr() netip.AddrPort {
	if tcp, ok := s.listener.Addr().(*net.TCPAddr); ok {
		return tcp.AddrPort()
	}
	return netip.AddrPort{}
}

// lastCall is how long a closing socket waits for one more connection that the kernel has half made: to close at once would
// reset that client, and those in the queue. lastCalls bounds all of it, where newcomers cannot be kept out.
const (
	lastCall  = 5 * time.Millisecond
	lastCalls = time.Second
)

// Share says whether another process has the socket too: what waits in the queue when we close is his.
func (s *Socket) Share(shared bool) { s.shared.Store(shared) }

// Kept tells whether the socket is the service manager's.
func (s *Socket) Kept() bool { return s.kept }

// others tells whether somebody else has the socket too, who would be disturbed by what is done to it.
func (s *Socket) others() bool {
	return s.kept || s.shared.Load() || s.inherited != nil && !s.inherited.owned.Load()
}

// SyscallConn is of the socket's descriptor, to hand it on.
func (s *Socket) SyscallConn() (syscall.RawConn, error) { return s.listener.SyscallConn() }

// Close stops accepting and closes the socket; connections accepted go on. What waits in the queue is accepted first.
func (s *Socket) Close() {
	s.shutOnce.Do(func() {
		if !s.others() {
			s.unlink()
		}
		serving := s.serving.Load()
		if serving {
			if !s.others() {
				lastClient(s.listener)
			}
			_ = s.listener.SetDeadline(time.Unix(1, 0)) // wakes Serve
		}
		close(s.shut)
		if serving {
			<-s.done
		}
		s.listener.Close()
	})
}
