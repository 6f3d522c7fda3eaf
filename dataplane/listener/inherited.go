package listener

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Inherited are sockets that others have bound: the service manager, or the process that served before. Bind takes them
// in place of new ones. Any goroutine may use it; nil is none.
type Inherited struct {
	mu      sync.Mutex
	sockets []*inherited // guarded by mu
	// owned: whoever had them before has let go.
	owned atomic.Bool
}

type inherited struct {
	file *os.File
	// address is where it is bound; an IPv6 one of all addresses takes IPv4 too, if both.
	address netip.AddrPort
	both    bool
	// path is a unix socket's; address is zero then.
	path string
	// kept: it is the service manager's, and stays bound whatever we do; else it is taken once.
	kept bool
	used bool
}

// Add takes over a descriptor, and closes it if it is no TCP or unix socket that listens. One that is kept serves every Bind of its
// address; others serve one.
func (i *Inherited) Add(file *os.File, kept bool) error {
	s := &inherited{file: file, kept: kept}
	if err := s.look(); err != nil {
		_ = file.Close()
		return fmt.Errorf("listener: descriptor %q: %w", file.Name(), err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sockets = append(i.sockets, s)
	return nil
}

// Own says that the process that had the sockets before does not have them any more. Until then they are left as they are when
// one of them is closed.
func (i *Inherited) Own() { i.owned.Store(true) }

func (s *inherited) name() string {
	if s.path != "" {
		return s.path
	}
	return s.address.String()
}

// look asks the kernel what the descriptor is, and believes nobody else.
func (s *inherited) look() error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	control := raw.Control(func(fd uintptr) {
		option := func(level, name int) int {
			n, failed := unix.GetsockoptInt(int(fd), level, name)
			err = errors.Join(err, failed)
			return n
		}
		if kind := option(unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
			err = errors.Join(errors.New("got no stream socket"), err)
			return
		}
		if option(unix.SOL_SOCKET, unix.SO_ACCEPTCONN) == 0 {
			err = errors.Join(errors.New("got a socket that does not listen"), err)
			return
		}
		address, failed := unix.Getsockname(int(fd))
		if failed != nil {
			err = failed
			return
		}
		switch a := address.(type) {
		case *unix.SockaddrInet4:
			s.address = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
		case *unix.SockaddrInet6:
			s.address = netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
			s.both = option(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY) == 0
		case *unix.SockaddrUnix:
			s.path = a.Name
		default:
			err = errors.New("got a socket of another kind than TCP and unix sockets")
		}
	})
	return errors.Join(control, err)
}

// Bind is Bind, with a socket that is there already if one is bound as the place wants it.
func (i *Inherited) Bind(place Place) (*Socket, error) {
	l, kept, err := i.take(place)
	if err != nil {
		return nil, fmt.Errorf("listener: bind %s: %w", place, err)
	}
	if l == nil {
		return Bind(place)
	}
	s := newSocket(place, l, nil)
	s.inherited, s.kept = i, kept
	if err := s.adopt(); err != nil {
		l.Close()
		return nil, fmt.Errorf("listener: bind %s: %w", place, cause(err))
	}
	return s, nil
}

// adopt finds the file of a unix socket that somebody else has made, and gives it the permissions that are wanted.
func (s *Socket) adopt() (err error) {
	unix, ok := s.listener.(*net.UnixListener)
	if !ok || abstract(s.Place.Path) {
		return nil
	}
	// Our Close removes the file, unless it is the service manager's.
	unix.SetUnlinkOnClose(false)
	if s.file, err = os.Lstat(s.Place.Path); err != nil {
		if s.kept && s.Place.Mode == 0 {
			return nil // it may be where the service manager sees it, and we do not
		}
		return err
	}
	mode := s.Place.Mode
	s.Place.Mode = uint32(s.file.Mode().Perm())
	return s.SetMode(mode)
}

// Listen is one at an address that is there already, or nil.
func (i *Inherited) Listen(address netip.AddrPort) (net.Listener, error) {
	l, _, err := i.take(Place{Address: address, IPv4Compat: true})
	if l == nil {
		return nil, err
	}
	return l, err
}

func (i *Inherited) take(place Place) (l acceptor, kept bool, err error) {
	if i == nil || place.Path == "" && place.Address.Port() == 0 {
		return nil, false, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, s := range i.sockets {
		if s.path != place.Path || s.address != place.Address || s.address.Addr() == netip.IPv6Unspecified() && s.both != place.IPv4Compat {
			continue
		}
		made, err := net.FileListener(s.file) // of a copy
		if err != nil {
			return nil, false, err
		}
		s.used = true
		if !s.kept {
			_ = s.file.Close() // the copy is what counts
			i.sockets = slices.Delete(i.sockets, n, n+1)
		}
		return made.(acceptor), s.kept, nil
	}
	return nil, false, nil
}

// Waiting names those that a process before has, and no Bind has taken yet.
func (i *Inherited) Waiting() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var names []string
	for _, s := range i.sockets {
		if !s.kept {
			names = append(names, s.name())
		}
	}
	return names
}

// Unused names those that no Bind has taken yet, and closes those of them that are not kept.
func (i *Inherited) Unused() (kept, closed []string) {
	if i == nil {
		return nil, nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sockets = slices.DeleteFunc(i.sockets, func(s *inherited) bool {
		name := fmt.Sprintf("%s (%s)", s.name(), s.file.Name())
		switch {
		case !s.kept:
			closed = append(closed, name)
			_ = s.file.Close() // nobody is served by it
		case !s.used:
			kept = append(kept, name)
		}
		return !s.kept
	})
	return kept, closed
}

// Kept are the descriptors that are the service manager's. They stay the caller's to read, not to close.
func (i *Inherited) Kept() []*os.File {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	var files []*os.File
	for _, s := range i.sockets {
		if s.kept {
			files = append(files, s.file)
		}
	}
	return files
}

// Close closes all that is left.
func (i *Inherited) Close() {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, s := range i.sockets {
		_ = s.file.Close() // nobody uses it
	}
	i.sockets = nil
}
