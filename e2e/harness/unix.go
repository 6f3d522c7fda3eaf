package harness

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// OnUnix lets an upstream that New makes listen on a unix socket.
func OnUnix(tb testing.TB) func(*Upstream) {
	return func(u *Upstream) {
		tb.Helper()
		_ = u.listener.Close()
		path := filepath.Join(ShortDir(tb), u.Name+".sock")
		l, err := net.Listen("unix", path)
		if err != nil {
			tb.Fatal(err)
		}
		u.listener, u.Addr = l, "unix:"+path
	}
}

// ShortDir is a folder whose path leaves room for a socket's, until the test's end: a test's own has its name in it.
func ShortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
