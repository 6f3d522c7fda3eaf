package listener

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: got %v, want no file", path, err)
	}
}

// TestUnixPermissions: the file has those that are asked for whatever the umask, can get others, and goes with its socket.
func TestUnixPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := bind(t, Place{Path: path, Mode: 0o662})
	if got := modeOf(t, path); got != 0o662 {
		t.Errorf("got %o, want 662", got)
	}
	if err := s.SetMode(0o600); err != nil || modeOf(t, path) != 0o600 {
		t.Errorf("got %v and %o, want 600", err, modeOf(t, path))
	}
	if err := s.SetMode(0); err != nil || modeOf(t, path) != 0o600 {
		t.Errorf("got %v and %o, want them left at 600", err, modeOf(t, path))
	}
	s.Close()
	gone(t, path)
}

// TestUnixStale: a file on which nobody lives is replaced; one on which somebody does, or that is something else, is left.
func TestUnixStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	s := bind(t, Place{Path: path})
	if _, err := Bind(Place{Path: path}); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want address in use, with the path", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("who lives there cannot be reached any more: %v", err)
	} else {
		c.Close()
	}
	s.Close()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Bind(Place{Path: path}); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("got %v, want that it is no socket", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file holds %q now", text)
	}
}

// TestUnixReplaced: the file of who came after stays.
func TestUnixReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := bind(t, Place{Path: path})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next := bind(t, Place{Path: path})
	s.Close()
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the next one's socket is gone: %v", err)
	} else {
		c.Close()
	}
	next.Close()
	gone(t, path)
}

// TestUnixAbstract: a name without a file.
func TestUnixAbstract(t *testing.T) {
	place := Place{Path: "@sluice-" + filepath.Base(t.TempDir()) + t.Name()}
	s := bind(t, place)
	if _, err := Bind(place); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v, want address in use", err)
	}
	s.Close()
	if _, err := net.Dial("unix", place.Path); err == nil {
		t.Error("somebody lives there still")
	}
}

// TestUnixInherited: a socket that somebody else has made gets the permissions that are wanted, or is refused; its file goes
// only with a socket that is ours.
func TestUnixInherited(t *testing.T) {
	for name, kept := range map[string]bool{"the process before": false, "the service manager": true} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			made, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			made.SetUnlinkOnClose(false)
			file, err := made.File()
			if err != nil {
				t.Fatal(err)
			}
			made.Close()
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			all := &Inherited{}
			defer all.Close()
			if err := all.Add(file, kept); err != nil {
				t.Fatal(err)
			}
			all.Own()
			s, err := all.Bind(Place{Path: path, Mode: 0o662})
			if err != nil || modeOf(t, path) != 0o662 {
				t.Fatalf("got %v and %o, want 662", err, modeOf(t, path))
			}
			if err := s.SetMode(0o640); err != nil || modeOf(t, path) != 0o640 {
				t.Errorf("got %v and %o, want 640", err, modeOf(t, path))
			}
			s.Close()
			if !kept {
				gone(t, path)
				return
			}
			// Another's file is left as it is, and the listener told.
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			other := bind(t, Place{Path: path, Mode: 0o600})
			if s, err = all.Bind(Place{Path: path}); err != nil {
				t.Fatal(err)
			}
			other.Close()
			if err := s.SetMode(0o660); err == nil || !strings.Contains(err.Error(), "got 0600, want 0660: the socket's file is gone") {
				t.Errorf("got %v, want that the file is gone", err)
			}
			s.Close()
			// It may be there for the service manager alone; but nobody can set its mode then.
			if s, err = all.Bind(Place{Path: path}); err != nil {
				t.Fatal(err)
			}
			s.Close()
			if _, err := all.Bind(Place{Path: path, Mode: 0o600}); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %v, want that there is no file", err)
			}
		})
	}
}
