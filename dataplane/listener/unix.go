package listener

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptor is a *net.TCPListener or a *net.UnixListener.
type acceptor interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}

// abstract tells a name in Linux's abstract namespace, which is no file.
func abstract(path string) bool { return strings.HasPrefix(path, "@") }

// permissions are those of a socket's mode; 0 is what the process's umask leaves.
func permissions(mode uint32) os.FileMode { return os.FileMode(mode) & os.ModePerm }

// knockTime is how long somebody who lives on a socket may take to show it.
const knockTime = time.Second

// makeWay removes the file of a unix socket on which nobody lives any more, as a process leaves it that was killed. It
// removes nothing else: bind then says that the address is in use. (Envoy removes whatever is there, and so takes a socket
// from under another process.)
func makeWay(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return cause(err)
	case info.Mode().Type() != os.ModeSocket:
		return errors.New("there is a file that is no socket")
	}
	conn, err := net.DialTimeout("unix", path, knockTime)
	switch {
	case err == nil:
		conn.Close()
		return syscall.EADDRINUSE
	case errors.Is(err, syscall.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, os.ErrNotExist):
		return nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		return syscall.EADDRINUSE // its queue is full
	}
	return cause(err)
}

// listenUnix binds a unix socket. It is never more open than mode says: the file is made with at most these permissions,
// since Linux takes them from the descriptor (unix(7)), and nobody can connect before listen.
func listenUnix(lc *net.ListenConfig, place Place) (acceptor, os.FileInfo, error) {
	if abstract(place.Path) {
		l, err := listen(lc, "unix", place.Path)
		if err != nil {
			return nil, nil, err
		}
		return l, nil, nil
	}
	if err := makeWay(place.Path); err != nil {
		return nil, nil, fmt.Errorf("listener: bind %s: %w", place.Path, err)
	}
	lc.Control = func(_, _ string, raw syscall.RawConn) error {
		if place.Mode == 0 {
			return nil
		}
		// Systems that refuse it set the permissions afterwards.
		return raw.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), uint32(permissions(place.Mode))) })
	}
	l, err := listen(lc, "unix", place.Path)
	if err != nil {
		return nil, nil, err
	}
	// Close removes the file, if it is still this socket's.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	info, err := os.Lstat(place.Path)
	if err == nil && place.Mode != 0 {
		// What the umask took.
		err = os.Chmod(place.Path, permissions(place.Mode))
	}
	if err != nil {
		l.Close()
		return nil, nil, fmt.Errorf("listener: bind %s: %w", place.Path, err)
	}
	return l, info, nil
}

// SetMode gives a unix socket's file other permissions; 0 leaves them. Connections that are there stay. The file must be the
// socket's, and the process allowed to: what a service manager has bound may be its alone.
func (s *Socket) SetMode(mode uint32) error {
	if mode == 0 || s.file == nil || mode == s.Place.Mode {
		return nil
	}
	err := errors.New("the socket's file is gone, or another's")
	if s.isThere() {
		err = os.Chmod(s.Place.Path, permissions(mode))
	}
	if err != nil {
		return fmt.Errorf("listener: mode: got %#o, want %#o: %w", s.Place.Mode, mode, err)
	}
	s.Place.Mode = mode
	return nil
}

// isThere tells whether the socket's file is where it was made, and nobody else's in its place.
func (s *Socket) isThere() bool {
	info, err := os.Lstat(s.Place.Path)
	return err == nil && os.SameFile(info, s.file)
}

// unlink removes the socket's file, unless somebody else has put one in its place.
func (s *Socket) unlink() {
	if s.file != nil && s.isThere() {
		_ = os.Remove(s.Place.Path)
	}
}
