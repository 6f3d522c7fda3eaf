//go:build unix

package secretfile

import (
	"os"
	"syscall"
)

// giveTo makes a file its folder's owner's.
func giveTo(f *os.File, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	uid, gid := owner(info)
	return f.Chown(uid, gid)
}

// owner is -1 where it is not known, which Chown leaves as it is.
func owner(info os.FileInfo) (uid, gid int) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid)
	}
	return -1, -1
}
