package socket

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is the two ends of a TCP connection; the near one is a Conn.
func pair(t testing.TB) (near *Conn, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close(); dialled.Close() })
	wrapped, ok := Wrap(accepted).(*Conn)
	if !ok {
		t.Fatalf("Wrap(%T) is not a Conn", accepted)
	}
	return wrapped, dialled.(*net.TCPConn)
}

func TestReadAndWrite(t *testing.T) {
	near, far := pair(t)
	// More than the buffers of both sockets hold: the write has to wait, and to go on where it was.
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	done := make(chan error, 1)
	go func() {
		n, err := near.Write(body)
		if err == nil && n != len(body) {
			err = io.ErrShortWrite
		}
		near.CloseWrite()
		done <- err
	}()
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("got %d bytes and %v, want the %d that were written", len(got), err, len(body))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = far.Write(body)
		far.CloseWrite()
	}()
	if got, err := io.ReadAll(near); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("got %d bytes and %v, want %d", len(got), err, len(body))
	}
}

func TestWritev(t *testing.T) {
	near, far := pair(t)
	large := bytes.Repeat([]byte("x"), 4<<20)
	go func() {
		_ = near.Writev([]byte("head "), large, nil)
		_ = near.Writev([]byte("a"), []byte("b"), []byte("c"))
		near.CloseWrite()
	}()
	got, err := io.ReadAll(far)
	if want := "head " + string(large) + "abc"; err != nil || string(got) != want {
		t.Fatalf("got %d bytes and %v, want %d", len(got), err, len(want))
	}
}

func TestDeadlineWakesARead(t *testing.T) {
	near, far := pair(t)
	if err := near.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want a deadline that was exceeded", err)
	}
	_ = near.SetReadDeadline(time.Time{})
	_, _ = far.Write([]byte("x"))
	if n, err := near.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("got %d, %v after the deadline was taken away", n, err)
	}
}

func TestEnds(t *testing.T) {
	near, far := pair(t)
	far.Close()
	if _, err := near.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
	near, far = pair(t)
	_ = far.SetLinger(0)
	far.Close()
	var op *net.OpError
	if _, err := near.Read(make([]byte, 1)); !errors.As(err, &op) {
		t.Errorf("got %v after a reset, want a net.OpError", err)
	}
	if _, err := near.Write([]byte("x")); !errors.As(err, &op) {
		t.Errorf("got %v after a reset, want a net.OpError", err)
	}
	near.Close()
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
	if near.Peek() != 0 {
		t.Error("a closed connection looks open")
	}
}

// until asks again and again: what the other side did takes a moment to arrive.
func until(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ask(); {
		if time.Now().After(deadline) {
			t.Fatal(what + " is not seen")
		}
	}
}

func TestPeekAndHungUp(t *testing.T) {
	near, far := pair(t)
	if near.Peek() != -1 || near.HungUp() {
		t.Fatal("a connection at rest looks otherwise")
	}
	_, _ = far.Write([]byte("x"))
	until(t, "a byte", func() bool { return near.Peek() == 1 })
	if n, err := near.Read(make([]byte, 2)); n != 1 || err != nil {
		t.Fatalf("got %d, %v: a look has taken the byte", n, err)
	}
	_ = far.CloseWrite()
	until(t, "the end", func() bool { return near.Peek() == 0 && near.HungUp() })
}

// filler notes what Fill does with it.
type filler struct {
	spaces int
	buf    []byte
	n      []int
}

func (f *filler) Space() []byte { f.spaces++; return f.buf }
func (f *filler) Filled(n int)  { f.n = append(f.n, n) }

func TestFillWaitsWithoutABuffer(t *testing.T) {
	near, far := pair(t)
	f := &filler{buf: make([]byte, 8)}
	_ = near.SetReadDeadline(time.Now().Add(time.Millisecond))
	if err := near.Fill(f); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v, want a deadline that was exceeded", err)
	}
	if f.spaces != 1 || len(f.n) != 1 || f.n[0] != 0 {
		t.Fatalf("%d spaces, filled %v: want one that was given back", f.spaces, f.n)
	}
	_ = near.SetReadDeadline(time.Time{})
	_, _ = far.Write([]byte("abc"))
	if err := near.Fill(f); err != nil || f.n[len(f.n)-1] != 3 || string(f.buf[:3]) != "abc" {
		t.Fatalf("got %v, filled %v, want abc", err, f.n)
	}
	far.Close()
	if err := near.Fill(f); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
}

func TestBelow(t *testing.T) {
	near, _ := pair(t)
	secure := tls.Server(near, &tls.Config{})
	if Of(secure) != near || Of(near) != near {
		t.Error("the socket is not found")
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if Of(a) != nil || Wrap(a) != a {
		t.Error("a pipe is taken for a socket")
	}
}

func TestNoAllocations(t *testing.T) {
	near, far := pair(t)
	buf, body := make([]byte, 64), []byte("0123456789")
	f := &filler{buf: buf, n: make([]int, 0, 10000)}
	allocs := testing.AllocsPerRun(100, func() {
		_, _ = near.Write(body)
		_, _ = io.ReadFull(far, buf[:10])
		_, _ = far.Write(body)
		_, _ = near.Read(buf)
		_, _ = far.Write(body)
		_ = near.Fill(f)
		_ = near.Writev(body, body, nil)
		_, _ = io.ReadFull(far, buf[:20])
		near.Peek()
	})
	if allocs > 0 {
		t.Errorf("got %v allocations, want none", allocs)
	}
}
