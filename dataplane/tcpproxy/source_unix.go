//go:build unix

package tcpproxy

import (
	"io"
	"syscall"
)

// listen lets the source wait without a buffer: who has thousands of connections, most of them quiet, has few buffers.
// It costs the system calls of a plain Read.
func (s *source) listen() {
	if _, ok := s.conn.(interface{ SetNoDelay(bool) error }); !ok {
		return
	}
	sc, ok := s.conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	s.raw = raw
	s.fill = func(fd uintptr) bool {
		s.take()
		for {
			switch s.n, s.err = syscall.Read(int(fd), s.buffer[:]); {
			case s.err == syscall.EINTR:
				continue
			case s.err == syscall.EAGAIN:
				s.release()
				return false
			case s.err == nil && s.n == 0:
				s.err = io.EOF
			}
			return true
		}
	}
}
