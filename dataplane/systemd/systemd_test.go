package systemd

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func set(t *testing.T, pid, fds, names string) {
	t.Setenv("LISTEN_PID", pid)
	t.Setenv("LISTEN_FDS", fds)
	t.Setenv("LISTEN_FDNAMES", names)
}

// TestSockets reads the variables alone: the descriptors are those of the test itself, which must not be closed.
func TestSockets(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, test := range []struct {
		name, pid, fds, names, err string
	}{
		{"none", "", "", "", ""},
		{"another process's", "1", "2", "a:b", ""},
		{"none given", me, "0", "", ""},
		{"no number", me, "x", "", `LISTEN_FDS: got "x", want a number from 0 to 4096`},
		{"too many", me, "5000", "", `LISTEN_FDS: got "5000"`},
		{"negative", me, "-1", "", `LISTEN_FDS: got "-1"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			set(t, test.pid, test.fds, test.names)
			files, err := Sockets()
			if len(files) > 0 || (err == nil) != (test.err == "") || err != nil && !strings.HasPrefix(err.Error(), test.err) {
				t.Errorf("got %v, %v, want an error %q", files, err, test.err)
			}
			for _, name := range variables {
				if _, there := os.LookupEnv(name); there {
					t.Errorf("%s is left for children", name)
				}
			}
		})
	}
}

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error("nobody listens, and nobody asked:", err)
	}
	path := filepath.Join(t.TempDir(), "s")
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1"); err == nil || !strings.HasPrefix(err.Error(), "NOTIFY_SOCKET: ") {
		t.Error(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := Notify(append(Reloading(), "STATUS=x")...); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 200)
	n, err := conn.Read(buf)
	if got := string(buf[:n]); err != nil || !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=\d+\nSTATUS=x$`).MatchString(got) {
		t.Errorf("got %q, %v", got, err)
	}
}
