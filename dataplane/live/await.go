package live

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// awaitFirst waits for a connection's first bytes.
func (c *conn) awaitFirst() bool { return c.await(c.http.config.IdleTimeout) }

// awaitNext waits for the rest of the idle timeout; its beginning was spent in the codec.
func (c *conn) awaitNext() bool {
	rest := c.http.config.IdleTimeout
	if rest > 0 {
		rest = max(rest-c.listener.runtime.parkAfter, 1)
	}
	return c.await(rest)
}

// await waits until the client says something. Here thousands of connections spend their time: no buffer is held, and few
// frames, so that the stack stays as small as stacks are.
func (c *conn) await(timeout time.Duration) bool {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	if c.SetReadDeadline(deadline) != nil || !readable(c.Conn) || c.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	c.http.pending = true
	c.step = (*conn).speak
	return false
}

// readable waits until a connection has bytes or its end to read; false: its read deadline has passed, or it is closed.
func readable(conn net.Conn) bool {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return true // not from the network: who reads waits
	}
	raw, err := socket.SyscallConn()
	return err == nil && raw.Read(hasBytes) == nil
}

func hasBytes(fd uintptr) bool {
	var b [1]byte
	for {
		_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != unix.EINTR {
			return err != unix.EAGAIN
		}
	}
}
