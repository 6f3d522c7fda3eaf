//go:build unix

package secretfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	if err := Probe(dir); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("got %v, want one file: %v", files, err)
	}
	if err := Probe(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there can be written to")
	}
	if err := Write(filepath.Join(dir, "none", "key"), nil); err == nil {
		t.Error("a folder that is not there was written to")
	}
	for mode, want := range map[os.FileMode]string{
		0o600: "", 0o400: "", 0o640: "", 0o440: "",
		0o644: "got mode 0644", 0o660: "got mode 0660", 0o604: "got mode 0604", 0o602: "got mode 0602",
	} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		text, err := Read(path, 6)
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) || (err == nil && string(text) != "secret") {
			t.Errorf("%o: got %q, %v, want %q", mode, text, err, want)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path, 5); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error about the length", err)
	}
}

// TestOwner: what root writes for a proxy can be read by it.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("wants root")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 1234, 1235); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "key")
	if err := Write(path, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if uid, gid := owner(info); uid != 1234 || gid != 1235 {
		t.Errorf("got owner %d:%d, want 1234:1235", uid, gid)
	}
}
