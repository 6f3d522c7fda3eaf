//go:build unix

package socket

import (
	"io"
	"net"
	"path/filepath"
	"testing"
)

// TestUnixSocket: a unix socket is read, written and looked at as TCP is.
func TestUnixSocket(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	near, ok := Wrap(accepted).(*Conn)
	if !ok || Of(accepted) == nil {
		t.Fatalf("Wrap(%T) is not a Conn", accepted)
	}
	if got := near.Peek(); got != -1 {
		t.Errorf("Peek: got %d, want -1: nothing has come", got)
	}
	if err := near.Writev([]byte("on"), []byte("e"), []byte("!")); err != nil {
		t.Fatal(err)
	}
	var buf [4]byte
	if _, err := io.ReadFull(far, buf[:]); err != nil || string(buf[:]) != "one!" {
		t.Fatalf("got %q and %v, want one!", buf, err)
	}
	if _, err := far.Write([]byte("two")); err != nil {
		t.Fatal(err)
	}
	if got := near.Peek(); got != 1 {
		t.Errorf("Peek: got %d, want 1", got)
	}
	if n, err := near.Read(buf[:]); string(buf[:n]) != "two" {
		t.Errorf("got %q and %v, want two", buf[:n], err)
	}
	if near.HungUp() {
		t.Error("HungUp before the end")
	}
	_ = far.(*net.UnixConn).CloseWrite()
	if got := near.Peek(); got != 0 || !near.HungUp() {
		t.Errorf("Peek: got %d, HungUp: %v, want the end", got, near.HungUp())
	}
	Abort(near) // nothing to say: no panic
}
