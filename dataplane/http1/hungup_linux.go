package http1

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp tells whether a socket's other side has ended its half, whatever has not been read yet.
func hungUp(raw syscall.RawConn) bool {
	up := false
	err := raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		up = err == nil && n > 0
	})
	return err != nil || up
}
