// Package secretfile reads and writes files with secrets.
//
// In: paths, bytes. Out: files that are whole or not there, for their owner alone; a refusal where others may read what
// should be secret. It must not know what the secrets are, and never tells them in an error.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// temporary is the pattern of files that are not whole yet.
const temporary = ".new-*"

// Write puts a file in place of what is there, at once and for good: who reads sees the one or the other, also after a
// crash. Its mode is 0600. What root writes belongs to the owner of the folder, whose program it is for.
func Write(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, temporary) // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil && os.Geteuid() == 0 {
		err = giveTo(f, dir)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Probe tells whether Write would come to something, before something that cannot be had twice is spent on it.
func Probe(dir string) error {
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Sweep removes what a crash left half-written in a folder that nobody writes to: it is of no use, and may hold keys.
func Sweep(dir string) {
	leftovers, _ := filepath.Glob(filepath.Join(dir, temporary))
	for _, path := range leftovers {
		_ = os.Remove(path)
	}
}

// Read reads a file of at most so many bytes, that others than its owner and group may not read, nor its group write.
// (The group may read, since that is how orchestrators mount secrets.)
func Read(path string, maxBytes int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const tooMuch fs.FileMode = 0o027
	if mode := info.Mode().Perm(); mode&tooMuch != 0 {
		return nil, fmt.Errorf("%s: got mode %#o, want 0600: it holds a secret", path, mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err == nil && int64(len(data)) > maxBytes {
		err = fmt.Errorf("%s: got more than %d bytes", path, maxBytes)
	}
	return data, err
}
