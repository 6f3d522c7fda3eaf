//go:build unix

package http1

import (
	"io"
	"net"
	"syscall"
)

// below is the connection under others, such as TLS.
func below(conn net.Conn) net.Conn {
	for {
		upper, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return conn
		}
		conn = upper.NetConn()
	}
}

// rawConn finds the socket under a connection; nil if there is none.
func rawConn(conn net.Conn) syscall.RawConn {
	sc, ok := below(conn).(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// socket looks at what a connection has, without taking it. It is made once, since its function would be on each call.
type socket struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	n    int
	b    [1]byte
}

func newSocket(conn net.Conn) *socket {
	s := &socket{raw: rawConn(conn)}
	s.look = func(fd uintptr) {
		for {
			var err error
			s.n, _, err = syscall.Recvfrom(int(fd), s.b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			switch err {
			case nil:
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
				s.n = -1
			default:
				s.n = 0
			}
			return
		}
	}
	return s
}

// peek is -1 if nothing has come, 1 if something has, 0 at the end, on an error, and if there is no socket. It does not
// wait, and may be called while another goroutine reads; by one at a time.
func (s *socket) peek() int {
	if s.raw == nil || s.raw.Control(s.look) != nil {
		return 0
	}
	return s.n
}

// gone tells whether the other side has ended its half. Without TLS, all that it sent must have been read: it may wait
// for several answers. Under TLS its last bytes are the notice that it closes, which cannot be told from others.
func gone(conn net.Conn) bool {
	s := newSocket(conn)
	if s.raw == nil {
		return false
	}
	if below(conn) != conn {
		return hungUp(s.raw)
	}
	return s.peek() == 0
}

// abort makes Close send a reset.
func abort(conn net.Conn) {
	if t, ok := below(conn).(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
}

// idler reads a connection's first bytes after a pause into a buffer that is taken only once they are there: who has
// thousands of idle connections has no buffers for them. It costs the system calls of a plain Read.
type idler struct {
	raw  syscall.RawConn
	in   *reader
	read func(fd uintptr) bool
	err  error
}

// newIdler is nil where there is no socket to read from directly, as under TLS.
func newIdler(conn net.Conn, in *reader) *idler {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw := rawConn(tcp)
	if raw == nil {
		return nil
	}
	i := &idler{raw: raw, in: in}
	i.read = func(fd uintptr) bool {
		for {
			n, err := syscall.Read(int(fd), in.space(smallBuffer))
			switch {
			case err == syscall.EINTR:
				continue
			case err == syscall.EAGAIN:
				in.release()
				return false
			case err != nil:
				i.err = err
			case n == 0:
				i.err = io.EOF
			default:
				in.w += n
			}
			return true
		}
	}
	return i
}

// fill waits for bytes.
func (i *idler) fill() error {
	i.err = nil
	if err := i.raw.Read(i.read); err != nil {
		return err
	}
	return i.err
}
