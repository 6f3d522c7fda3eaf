// Package systemd speaks with a service manager: what it gives a process at its start, and what the process tells it.
//
// In: the environment. Out: sockets, and lines. Whatever else sets the same variables is served alike. It must not know
// what the process does.
// https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
// https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
package systemd

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// firstDescriptor is SD_LISTEN_FDS_START.
	firstDescriptor = 3
	// maxDescriptors is more than anybody listens on.
	maxDescriptors = 4096
)

// variables are what a child must not believe to be its own.
var variables = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}

// Sockets are the descriptors that the process was started with, by their names (FileDescriptorName=, or the socket unit's);
// none, if it was not, or if they are another process's. The caller owns them. The variables are gone afterwards.
func Sockets() ([]*os.File, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range variables {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if pid != strconv.Itoa(os.Getpid()) || count == "" {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxDescriptors {
		return nil, fmt.Errorf("LISTEN_FDS: got %q, want a number from 0 to %d", count, maxDescriptors)
	}
	var files []*os.File
	called := strings.Split(names, ":")
	for i := range n {
		fd := firstDescriptor + i
		unix.CloseOnExec(fd)
		name := "LISTEN_FD_" + strconv.Itoa(fd)
		if i < len(called) && called[i] != "" {
			name = called[i]
		}
		files = append(files, os.NewFile(uintptr(fd), name))
	}
	return files, nil
}

// Notify tells the service manager lines such as READY=1; without one, it does nothing.
func Notify(lines ...string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return nil
}

// Reloading are the lines that say that another process is about to take over, or a new configuration. READY=1 must follow.
func Reloading() []string {
	lines := []string{"RELOADING=1"}
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) == nil {
		lines = append(lines, fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000))
	}
	return lines
}
