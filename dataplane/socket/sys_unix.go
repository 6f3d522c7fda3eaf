//go:build unix && !linux

package socket

import "syscall"

func sysRead(fd uintptr, p []byte) (int, syscall.Errno) {
	return again(func() (int, error) { return syscall.Read(int(fd), p) })
}

func sysWrite(fd uintptr, p []byte) (int, syscall.Errno) {
	return again(func() (int, error) { return syscall.Write(int(fd), p) })
}

func sysPeek(fd uintptr, p []byte) (int, syscall.Errno) {
	return again(func() (int, error) {
		n, _, err := syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n, err
	})
}

func again(call func() (int, error)) (int, syscall.Errno) {
	for {
		n, err := call()
		errno, _ := err.(syscall.Errno)
		if errno != syscall.EINTR {
			return n, errno
		}
	}
}

// sysHungUp: POLLRDHUP is Linux's.
func sysHungUp(uintptr) bool { return false }
