package source

import (
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many symbolic links a path may go through; Linux's own limit is 40.
const maxLinks = 64

// step is one entry of one folder.
type step struct{ dir, name string }

// chain lists the entries that decide what path means: each part of the way as it really is, with symbolic links resolved,
// up to the end or to the first entry that is missing. Kubernetes mounts a file as x.yaml → ..data/x.yaml, ..data → ..2026_08_01,
// and swaps ..data: only its folder tells.
func chain(path string) []step {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	var steps []step
	cur, rest, links := "/", parts(abs), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			cur = filepath.Dir(cur)
			continue
		}
		full := filepath.Join(cur, name)
		steps = append(steps, step{cur, name})
		info, err := os.Lstat(full)
		if err != nil {
			return steps
		}
		if info.Mode()&os.ModeSymlink == 0 {
			cur = full
			continue
		}
		target, err := os.Readlink(full)
		if links++; err != nil || links > maxLinks {
			return steps
		}
		if filepath.IsAbs(target) {
			cur = "/"
		}
		rest = append(parts(target), rest...)
	}
	return steps
}

func parts(path string) []string { return strings.Split(filepath.ToSlash(path), "/") }
