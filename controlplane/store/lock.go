package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// folderLock keeps a second control plane out of a state folder. The system lets go of it when the process ends.
type folderLock struct{ f *os.File }

func lockFolder(dir string) (*folderLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("state folder %s: another control plane uses it", dir)
		}
		return nil, fmt.Errorf("state folder %s: %w", dir, err)
	}
	return &folderLock{f}, nil
}

func (l *folderLock) close() error {
	if l == nil {
		return nil
	}
	return l.f.Close()
}
