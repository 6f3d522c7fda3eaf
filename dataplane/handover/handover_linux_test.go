package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var me = Identity{Node: "n", Fleet: "f", Version: "v"}

// place is one that is held: a server of it, what it gives, and what has become of it.
type place struct {
	path    string
	yielded chan int
	ended   chan bool
	cancel  context.CancelFunc
}

func hold(t *testing.T, path string, patience time.Duration, give ...Descriptor) *place {
	t.Helper()
	p := &place{path: path, yielded: make(chan int, 1), ended: make(chan bool, 1)}
	s, err := Listen(Options{
		Path: path, Me: me, Patience: patience, Logger: slog.New(slog.DiscardHandler),
		Descriptors: func() ([]Descriptor, func()) { return give, func() {} },
		Failed:      func() {},
		Yield:       func(pid int) { p.yielded <- pid },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	t.Cleanup(cancel)
	go func() { p.ended <- s.Run(ctx) }()
	return p
}

// listening is a socket, and its address.
func listening(t *testing.T) (*net.TCPListener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener), l.Addr().String()
}

func ask(t *testing.T, path string) *Predecessor {
	t.Helper()
	p, err := Ask(path, me)
	if err != nil || p == nil {
		t.Fatal(p, err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestHandOver: the next gets the descriptors, which work, and the place; a third the place of the next.
func TestHandOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	socket, address := listening(t)
	first := hold(t, path, 0, Descriptor{Kind: "socket", Conn: socket})
	for range 3 {
		next := ask(t, path)
		if len(next.Descriptors) != 1 || next.Descriptors[0].Name() != "socket" || next.PID != os.Getpid() {
			t.Fatalf("%+v", next)
		}
		got, err := net.FileListener(next.Descriptors[0])
		if err != nil || got.Addr().String() != address {
			t.Fatal(got, err)
		}
		select {
		case <-first.yielded:
			t.Fatal("the first has gone before the next was ready")
		default:
		}
		if err := next.Take(context.Background()); err != nil {
			t.Fatal(err)
		}
		if pid := <-first.yielded; pid != os.Getpid() || !<-first.ended {
			t.Fatalf("pid %d", pid)
		}
		second := hold(t, path, 0, Descriptor{Kind: "socket", Conn: got.(*net.TCPListener)})
		if info, err := os.Lstat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
			t.Fatalf("%v, %v", info.Mode(), err)
		}
		t.Cleanup(func() { _ = got.Close() })
		first = second
	}
	first.cancel()
	if <-first.ended {
		t.Error("nobody has come")
	}
	if left, _ := filepath.Glob(filepath.Dir(path) + "/*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if p, err := Ask(path, me); p != nil || err != nil {
		t.Error("nobody is there: want nil, nil; got", p, err)
	}
}

// TestManyDescriptors: more than a control message may hold.
func TestManyDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	socket, _ := listening(t)
	many := make([]Descriptor, 300)
	for i := range many {
		many[i] = Descriptor{Kind: "socket", Conn: socket}
	}
	hold(t, path, 0, many...)
	if next := ask(t, path); len(next.Descriptors) != len(many) {
		t.Errorf("got %d, want %d", len(next.Descriptors), len(many))
	}
}

// TestStays: whoever comes and does not become ready leaves the place as it is.
func TestStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	socket, _ := listening(t)
	old := hold(t, path, 20*time.Millisecond, Descriptor{Kind: "socket", Conn: socket})
	for name, come := range map[string]func(t *testing.T){
		"another node": func(t *testing.T) {
			_, err := Ask(path, Identity{Node: "other", Fleet: "f"})
			if err == nil || !strings.Contains(err.Error(), `the process there says: this is node "n" of fleet "f", and the next is node "other" of fleet "f"`) {
				t.Error(err)
			}
		},
		"it dies": func(t *testing.T) {
			p, err := Ask(path, me)
			if err != nil {
				t.Fatal(err)
			}
			p.Close()
		},
		"too late": func(t *testing.T) {
			p := ask(t, path)
			<-p.Ended()
			if err := p.Take(context.Background()); err == nil || !strings.Contains(err.Error(), "the process there says: it was not ready within 20ms") {
				t.Error(err)
			}
		},
		"nonsense": func(t *testing.T) {
			conn, err := net.Dial("unixpacket", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "{")
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := conn.Read(make([]byte, 100)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %d bytes, %v, want the end", n, err)
			}
		},
		"another form": func(t *testing.T) {
			conn, err := net.Dial("unixpacket", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, `{"form":2,"node":"n","fleet":"f"}`)
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if n, err := conn.Read(make([]byte, 100)); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %d bytes, %v, want the end", n, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			come(t)
		})
	}
	select {
	case <-old.yielded:
		t.Error("it has yielded")
	case <-old.ended:
		t.Error("it has ended")
	default:
	}
}

// TestOneAtATime: a second one is refused, and the first is not disturbed.
func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old := hold(t, path, 0)
	first := ask(t, path)
	if _, err := Ask(path, me); err == nil || !strings.Contains(err.Error(), "another process is taking over") {
		t.Error(err)
	}
	if err := first.Take(context.Background()); err != nil {
		t.Error(err)
	}
	<-old.yielded
}

// TestGone: a predecessor that ends while the next gets ready leaves it the place.
func TestGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old := hold(t, path, 0)
	next := ask(t, path)
	old.cancel()
	<-next.Ended()
	if err := next.Take(context.Background()); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	<-old.ended
}

// TestPath: a file is not replaced, a socket that nobody listens at is.
func TestPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Options{Path: file}); err == nil || !strings.Contains(err.Error(), "is there, and is no socket") {
		t.Error(err)
	}
	if _, err := Ask(file, me); !errors.Is(err, syscall.ECONNREFUSED) && err != nil {
		t.Error(err)
	}
	stale := filepath.Join(dir, "stale")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: stale}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	if p, err := Ask(stale, me); p != nil || err != nil {
		t.Error(p, err)
	}
	p := hold(t, stale, 0)
	ask(t, stale)
	p.cancel()
	<-p.ended
	if _, err := Listen(Options{Path: filepath.Join(dir, "none", "s")}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestStranger: another user gets nothing, even if the file system lets him in.
func TestStranger(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user for a while")
	}
	dir, err := os.MkdirTemp("", "handover")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	socket, _ := listening(t)
	hold(t, path, 0, Descriptor{Kind: "socket", Conn: socket})
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(path, 0o777)); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		const nobody = 65534
		if _, _, failed := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); failed != 0 {
			got <- failed
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}
		if err == nil {
			_, _ = unix.Write(fd, []byte(`{"form":1,"node":"n","fleet":"f"}`)) // it may be closed by then
			var n int
			if n, err = unix.Read(fd, make([]byte, 100)); n > 0 {
				err = fmt.Errorf("got %d bytes", n)
			} else if errors.Is(err, unix.ECONNRESET) {
				err = nil
			}
		}
		_ = unix.Close(fd)
		got <- err
	}()
	if err := <-got; err != nil {
		t.Error(err)
	}
	ask(t, path)
}
