package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sluice-proxy/sluice/e2e/bench/usage"
)

// counters count the system calls of a process tree, as `perf stat -e raw_syscalls:sys_enter -p` does.
type counters struct{ fds []int }

// errNoCounter tells that this machine does not count.
var errNoCounter = errors.New("bench: system calls cannot be counted here")

// countSystemCalls begins. It needs root, or a kernel.perf_event_paranoid that allows tracepoints.
func countSystemCalls(pid int) (*counters, error) {
	text, err := os.ReadFile("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id")
	if err != nil {
		text, err = os.ReadFile("/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: tracefs: %w", errNoCounter, err)
	}
	id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: tracefs: %w", errNoCounter, err)
	}
	c := &counters{}
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Bits: unix.PerfBitInherit}
	for _, tid := range usage.Threads(pid) {
		fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err == unix.ESRCH {
			continue // it has ended
		}
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("%w: perf_event_open: %w", errNoCounter, err)
		}
		c.fds = append(c.fds, fd)
	}
	if len(c.fds) == 0 {
		return nil, errors.New("bench: no thread to count system calls of")
	}
	return c, nil
}

// Total is how many there were.
func (c *counters) Total() (uint64, error) {
	total := uint64(0)
	for _, fd := range c.fds {
		var b [8]byte
		if n, err := unix.Read(fd, b[:]); err != nil || n != len(b) {
			return 0, fmt.Errorf("bench: read a counter: %d bytes: %w", n, err)
		}
		total += binary.NativeEndian.Uint64(b[:])
	}
	return total, nil
}

// Close ends it.
func (c *counters) Close() {
	for _, fd := range c.fds {
		_ = unix.Close(fd)
	}
}
