//go:build unix

package http1

import (
	"crypto/tls"
	"net"
	"syscall"
)

// rawConn finds the socket under a connection; nil if there is none.
func rawConn(conn net.Conn) syscall.RawConn {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// peek looks at what a socket has without taking it: n is -1 if nothing has come, 0 at its end or on an error. It does
// not wait, and may be called while another goroutine reads.
func peek(raw syscall.RawConn) (n int) {
	var b [1]byte
	err := raw.Control(func(fd uintptr) {
		var err error
		for {
			n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
			if err != syscall.EINTR {
				break
			}
		}
		switch {
		case err == syscall.EAGAIN || err == syscall.EWOULDBLOCK:
			n = -1
		case err != nil:
			n = 0
		}
	})
	if err != nil {
		return 0
	}
	return n
}

func peekEOF(conn net.Conn) bool {
	raw := rawConn(conn)
	return raw != nil && peek(raw) == 0
}

// abort makes Close send a reset.
func abort(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
}
