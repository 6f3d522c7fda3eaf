//go:build !linux

package listener

// lastClient is of Linux.
func lastClient(acceptor) {}
