//go:build unix && !linux

package http1

import "syscall"

// Elsewhere a client that goes away under TLS is noticed when it is next read or written.
func hungUp(syscall.RawConn) bool { return false }
