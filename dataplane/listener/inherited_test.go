package listener

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// given is a socket that somebody else has bound, and its descriptor for us.
func given(t *testing.T, network, address string) (*net.TCPListener, *os.File) {
	t.Helper()
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // those of a service manager are not, and what Close may do to a socket would fail
	l, err := plain.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener), copyOf(t, l.(*net.TCPListener))
}

// copyOf leaves the socket as it is; File and then Fd would make it one that blocks.
func copyOf(t *testing.T, l *net.TCPListener) *os.File {
	t.Helper()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	var failed error
	if err := raw.Control(func(of uintptr) { fd, failed = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return os.NewFile(uintptr(fd), "given")
}

func placeOf(l net.Listener) Place {
	return Place{Address: l.Addr().(*net.TCPAddr).AddrPort(), ReusePort: true}
}

func TestInheritedBind(t *testing.T) {
	all := &Inherited{}
	defer all.Close()
	owner, file := given(t, "tcp4", "127.0.0.1:0")
	if err := all.Add(file, false); err != nil {
		t.Fatal(err)
	}
	s, err := all.Bind(placeOf(owner))
	if err != nil || s.Kept() {
		t.Fatal(s, err)
	}
	_ = owner.Close()
	serve(s, nil, func(c net.Conn) { _, _ = c.Write([]byte("ok")) })
	buf := make([]byte, 2)
	if _, err := dial(t, s).Read(buf); err != nil || string(buf) != "ok" {
		t.Fatalf("%q, %v", buf, err)
	}
	if kept, closed := all.Unused(); len(kept)+len(closed) > 0 {
		t.Error(kept, closed)
	}
	s.Close()
	// Once only: the next is a new one, which the owner of the address can bind now.
	if s, err = all.Bind(s.Place); err != nil || s.inherited != nil {
		t.Fatal(err)
	}
	s.Close()
}

// TestKept: a service manager's socket serves a listener as often as one comes; who connects between waits.
func TestKept(t *testing.T) {
	all := &Inherited{}
	defer all.Close()
	owner, file := given(t, "tcp4", "127.0.0.1:0")
	if err := all.Add(file, true); err != nil {
		t.Fatal(err)
	}
	if kept, _ := all.Unused(); len(kept) != 1 || kept[0] != owner.Addr().String()+" (given)" {
		t.Errorf("unused: %q", kept)
	}
	for range 3 {
		waits, err := net.Dial("tcp", owner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer waits.Close()
		s, err := all.Bind(placeOf(owner))
		if err != nil || !s.Kept() {
			t.Fatal(s, err)
		}
		serve(s, nil, func(c net.Conn) { _, _ = c.Write([]byte("ok")) })
		_ = waits.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := waits.Read(make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	if kept, _ := all.Unused(); len(kept) > 0 || len(all.Kept()) != 1 {
		t.Errorf("unused: %q", kept)
	}
}

// TestBorrowed: what is closed before its owner has let go is left to him as it was, and the queue with it.
func TestBorrowed(t *testing.T) {
	for name, free := range map[string]func(*Inherited, *Socket){
		"not owned yet": func(*Inherited, *Socket) {},
		"shared":        func(i *Inherited, s *Socket) { i.Own(); s.Share(true) },
	} {
		t.Run(name, func(t *testing.T) {
			all := &Inherited{}
			owner, file := given(t, "tcp4", "127.0.0.1:0")
			if err := all.Add(file, false); err != nil {
				t.Fatal(err)
			}
			s, err := all.Bind(placeOf(owner))
			if err != nil {
				t.Fatal(err)
			}
			serve(s, nil, func(net.Conn) {})
			free(all, s)
			s.Close()
			conn, err := net.DialTimeout("tcp", owner.Addr().String(), 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = owner.SetDeadline(time.Now().Add(10 * time.Second))
			got, err := owner.Accept()
			if err != nil {
				t.Fatal(err)
			}
			_ = got.Close()
		})
	}
}

// TestInheritedMatch: a socket is a listener's only if it is bound as the listener wants.
func TestInheritedMatch(t *testing.T) {
	all := &Inherited{}
	defer all.Close()
	both, file := given(t, "tcp", "[::]:0") // of both families
	if err := all.Add(file, true); err != nil {
		t.Fatal(err)
	}
	port := uint16(both.Addr().(*net.TCPAddr).Port)
	for _, test := range []struct {
		place Place
		want  bool
	}{
		{Place{Address: netip.AddrPortFrom(netip.IPv6Unspecified(), port), IPv4Compat: true}, true},
		{Place{Address: netip.AddrPortFrom(netip.IPv6Unspecified(), port)}, false},
		{Place{Address: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}, false},
		{Place{Address: netip.AddrPortFrom(netip.IPv6Loopback(), port)}, false},
		{Place{Address: netip.AddrPortFrom(netip.IPv6Unspecified(), 0), IPv4Compat: true}, false},
	} {
		l, _, err := all.take(test.place)
		if err != nil || (l != nil) != test.want {
			t.Errorf("%+v: got %v, %v, want %v", test.place, l, err, test.want)
		}
		if l != nil {
			_ = l.Close()
		}
	}
}

// TestInheritedBad: what is no socket that listens is refused, and closed.
func TestInheritedBad(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	socket := func(family, kind int, prepare func(fd int) error) *os.File {
		t.Helper()
		fd, err := unix.Socket(family, kind, 0)
		if err == nil {
			err = prepare(fd)
		}
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "bad")
	}
	for want, file := range map[string]*os.File{
		"not a socket|operation on non-socket|socket operation": file,
		"got no stream socket":              socket(unix.AF_INET, unix.SOCK_DGRAM, func(int) error { return nil }),
		"got a socket that does not listen": socket(unix.AF_INET, unix.SOCK_STREAM, func(int) error { return nil }),
	} {
		err := (&Inherited{}).Add(file, true)
		found := false
		for _, one := range strings.Split(want, "|") {
			found = found || err != nil && strings.Contains(err.Error(), one)
		}
		if !found {
			t.Errorf("got %v, want %s", err, want)
		}
		if _, err := file.Stat(); err == nil {
			t.Errorf("%s: it is open", want)
		}
	}
}

// TestInheritedUnix: the file of a unix socket goes with the last process that has it.
func TestInheritedUnix(t *testing.T) {
	place := Place{Path: filepath.Join(t.TempDir(), "s"), Mode: 0o600}
	first, err := Bind(place)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := first.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var fd int
	if err := raw.Control(func(of uintptr) { fd, _ = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || fd == 0 {
		t.Fatal(err)
	}
	all := &Inherited{}
	defer all.Close()
	if err := all.Add(os.NewFile(uintptr(fd), "given"), false); err != nil {
		t.Fatal(err)
	}
	if names := all.Waiting(); len(names) != 1 || names[0] != place.Path {
		t.Errorf("waiting: got %v", names)
	}
	second, err := all.Bind(place)
	if err != nil {
		t.Fatal(err)
	}
	first.Share(true)
	first.Close()
	all.Own()
	serve(second, nil, func(c net.Conn) { _, _ = c.Write([]byte("ok")) })
	conn, err := net.Dial("unix", place.Path)
	if err != nil {
		t.Fatalf("the first has taken the file with it: %v", err)
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 2)); err != nil {
		t.Error(err)
	}
	second.Close()
	if _, err := os.Lstat(place.Path); err == nil {
		t.Error("the second has left the file")
	}
}
