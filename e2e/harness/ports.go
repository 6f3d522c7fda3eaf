package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

var ports struct {
	sync.Mutex
	next, last int      // the next to be looked at, and the end of the range
	lock       *os.File // says that the range is this process's; held to its end
}

// Ports are below Linux's ephemeral range (32768 and up), so that no outgoing connection takes one between our look
// and the proxy's bind.
const firstPort, lastPort = 12000, 32000

// ranges are for test processes that run at the same time: one must not bind a port that another has looked at.
const ranges, perRange = 4, (lastPort - firstPort) / 4

// ownRange takes a range that no other process has; if all are taken, any.
func ownRange() (first int) {
	order := rand.Perm(ranges)
	for _, n := range order {
		f, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprint("sluice-e2e-ports-", n)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			continue
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			ports.lock = f
			return firstPort + n*perRange
		}
		_ = f.Close()
	}
	return firstPort + order[0]*perRange
}

// FreePort is a TCP port that is free on all addresses of both families, and is given out once.
func FreePort(tb testing.TB) int {
	tb.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		first := ownRange()
		ports.next, ports.last = first+rand.IntN(perRange), first+perRange
	}
	for range perRange {
		port := ports.next
		if ports.next++; ports.next >= ports.last {
			ports.next = ports.last - perRange
		}
		if free("tcp4", "0.0.0.0", port) && free("tcp6", "::", port) {
			return port
		}
	}
	tb.Fatal("harness: no free port")
	return 0
}

func free(network, host string, port int) bool {
	l, err := net.Listen(network, net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

// Loopback is 127.0.0.1 and a free port.
func Loopback(tb testing.TB) string {
	tb.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePort(tb)))
}
