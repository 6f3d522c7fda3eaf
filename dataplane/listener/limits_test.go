package listener

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestClientLimit: one client's connections are bounded, and do not count for another's.
func TestClientLimit(t *testing.T) {
	s := bind(t, Place{Address: at("127.0.0.1:0")})
	stats := &Stats{}
	taken, release := make(chan net.Conn), make(chan struct{})
	s.Serve(Options{
		Stats: func() *Stats { return stats }, Limit: NewLimit(10), Clients: NewClients(2),
		Handle: func(conn net.Conn, _ func()) Handler {
			return once{conn, func(c net.Conn) { taken <- c; <-release }}
		},
	})
	for range 2 {
		dial(t, s)
		<-taken
	}
	if b, err := io.ReadAll(dial(t, s)); len(b) != 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(b, err)
	}
	if n := stats.Refused[AtClientLimit].Load(); n != 1 {
		t.Errorf("%d refused", n)
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	conn, err := other.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-taken
	close(release)
	for stats.ConnectionsActive.Load() > 0 {
	}
	dial(t, s)
	<-taken
}

func TestClientKey(t *testing.T) {
	c := NewClients(1)
	for _, test := range []struct{ a, b string }{
		{"192.0.2.1:1", "192.0.2.1:2"},
		{"192.0.2.1:1", "[::ffff:192.0.2.1]:2"},
		{"[2001:db8:1:2::3]:1", "[2001:db8:1:2:ffff::]:9"},
		{"[fe80::1%lo]:1", "[fe80::2]:1"},
	} {
		a, _ := net.ResolveTCPAddr("tcp", test.a)
		b, _ := net.ResolveTCPAddr("tcp", test.b)
		if c.key(a) != c.key(b) {
			t.Errorf("%s is counted as %v, %s as %v: want one client", test.a, c.key(a), test.b, c.key(b))
		}
	}
	a, _ := net.ResolveTCPAddr("tcp", "[2001:db8:1:2::3]:1")
	b, _ := net.ResolveTCPAddr("tcp", "[2001:db8:1:3::3]:1")
	if c.key(a) == c.key(b) {
		t.Error("two /64s are counted as one client")
	}
}

// TestClientsForget: a client that has gone takes no memory.
func TestClientsForget(t *testing.T) {
	c := NewClients(3)
	peer := at("192.0.2.1:0").Addr()
	for range 3 {
		if !c.acquire(peer) {
			t.Fatal("refused below the bound")
		}
	}
	for range 3 {
		c.release(peer)
	}
	if n := len(c.shard(peer).open); n != 0 {
		t.Errorf("%d clients are remembered, want none", n)
	}
}

type pressure struct {
	rejecting bool
	paused    chan struct{}
}

func (p *pressure) Rejecting() bool { return p.rejecting }
func (p *pressure) Paused() <-chan struct{} {
	select {
	case <-p.paused:
		return nil
	default:
		return p.paused
	}
}

func TestPressure(t *testing.T) {
	p := &pressure{paused: make(chan struct{})}
	s := bind(t, Place{Address: at("127.0.0.1:0")})
	stats := &Stats{}
	s.Serve(Options{
		Stats: func() *Stats { return stats }, Pressure: p,
		Handle: func(conn net.Conn, _ func()) Handler {
			return once{conn, func(c net.Conn) { _, _ = c.Write([]byte("ok")) }}
		},
	})
	waits := dial(t, s)
	close(p.paused)
	if b, err := io.ReadAll(waits); string(b) != "ok" {
		t.Fatalf("a connection that came while accepting was paused: got %q, %v", b, err)
	}
	s.Close()

	p.rejecting = true
	s = bind(t, Place{Address: at("127.0.0.1:0")})
	s.Serve(Options{Stats: func() *Stats { return stats }, Pressure: p})
	if b, _ := io.ReadAll(dial(t, s)); len(b) != 0 || stats.Refused[NoMemory].Load() != 1 {
		t.Fatalf("got %q, %d refused, want it closed", b, stats.Refused[NoMemory].Load())
	}
}

// TestPausedCloses: a socket that does not accept can be closed.
func TestPausedCloses(t *testing.T) {
	s := bind(t, Place{Address: at("127.0.0.1:0")})
	s.Serve(Options{Pressure: &pressure{paused: make(chan struct{})}})
	for !s.serving.Load() {
	}
	s.Close()
}

// TestNoDescriptors: when the process has no descriptor left, clients hear so at once, and the socket goes on afterwards.
func TestNoDescriptors(t *testing.T) {
	s := bind(t, Place{Address: at("127.0.0.1:0")})
	var waiting []net.Conn
	for range 3 {
		waiting = append(waiting, dial(t, s))
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	free, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	lowest := free.Fd()
	free.Close()
	// One is left: the spare's.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(lowest) + 1, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	restore := func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }
	defer restore()
	stats := serve(s, nil, func(c net.Conn) { _, _ = c.Write([]byte("ok")) })
	for _, c := range waiting {
		if b, err := io.ReadAll(c); len(b) != 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("got %q, %v, want it closed", b, err)
		}
	}
	for stats.Refused[NoDescriptor].Load() < 3 { // a client may know before it is counted
		runtime.Gosched()
	}
	restore()
	// Whoever accepts may have been refused a descriptor just before, and sheds one more.
	var b []byte
	for try := 0; try < 2 && string(b) != "ok"; try++ {
		b, err = io.ReadAll(dial(t, s))
	}
	if string(b) != "ok" {
		t.Fatalf("afterwards: got %q, %v", b, err)
	}
}
