package harness

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

var ports struct {
	sync.Mutex
	next int
}

// Ports are below Linux's ephemeral range (32768 and up), so that no outgoing connection takes one between our look
// and the proxy's bind.
const firstPort, lastPort = 12000, 32000

// FreePort is a TCP port that is free on all addresses of both families, and is given out once.
func FreePort(tb testing.TB) int {
	tb.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = firstPort + rand.IntN(lastPort-firstPort)
	}
	for range lastPort - firstPort {
		port := ports.next
		if ports.next++; ports.next >= lastPort {
			ports.next = firstPort
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
