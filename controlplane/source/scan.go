package source

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// settled is how old a file's time stamp must be before an unchanged stamp proves unchanged bytes: file systems'
// clocks are coarse, and a second write within one tick leaves the stamp as it was.
const settled = 2 * time.Second

// found is one path that a scan came across.
type found struct {
	path string
	err  error
}

// cached is what a file held when it was last read.
type cached struct {
	info os.FileInfo
	data []byte
	// sure: the stamp was settled when the file was read.
	sure bool
}

// scan is one walk over all paths. It first arms a watch on a folder, then lists it, so that nothing falls between.
type scan struct {
	// watch is told each folder that matters, by its real path, and which of its names; "" is all. Nil: nobody watches.
	watch func(dir, name string)
	// cache holds the last scan's files by path; next becomes the new one.
	cache, next map[string]cached
	// pipes: read named paths that are no regular files.
	pipes bool

	// plain are the regular files below folders by their real paths, for events. "" is one that is reached in two ways.
	plain map[string]string
	// listed are the folders that were walked, in the same way.
	listed map[string]string

	found   []found
	seen    map[string]bool // paths in found
	folders map[string]bool // real paths of the folders on the way down, against loops
	full    bool            // MaxFiles was reached
}

func newScan(cache map[string]cached, watch func(dir, name string)) *scan {
	return &scan{watch: watch, cache: cache, next: map[string]cached{}, plain: map[string]string{}, listed: map[string]string{}, seen: map[string]bool{}, folders: map[string]bool{}}
}

// read walks all paths but "-" and reads what it finds.
func (s *scan) read(paths []string) []File {
	for _, p := range paths {
		if p != Stdin {
			s.root(p)
		}
	}
	files := make([]File, 0, len(s.found))
	for _, f := range s.found {
		if f.err != nil {
			files = append(files, File{Path: f.path, Err: f.err})
			continue
		}
		data, err := s.file(f.path)
		if err != nil {
			err = fmt.Errorf("source: %w", err)
		}
		files = append(files, File{Path: f.path, Data: data, Err: err})
	}
	return files
}

// file reads one file, or spares it when its stamp proves it unchanged.
func (s *scan) file(path string) ([]byte, error) {
	now := time.Now()
	if old, ok := s.cache[path]; ok && old.sure {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, old.info) && info.Size() == old.info.Size() &&
			info.ModTime().Equal(old.info.ModTime()) {
			s.next[path] = old
			return old.data, nil
		}
	}
	data, info, err := readFile(path, s.pipes)
	if err != nil {
		return nil, err
	}
	s.next[path] = cached{info: info, data: data, sure: now.Sub(info.ModTime()) > settled}
	return data, nil
}

// root takes a path that a person named. It must be there.
func (s *scan) root(path string) {
	path = filepath.Clean(path)
	s.chain(path)
	info, err := os.Stat(path)
	switch {
	case err != nil:
		s.add(path, fmt.Errorf("source: %w", err))
	case info.IsDir():
		s.folder(path, 0)
	default:
		s.add(path, nil)
	}
}

func (s *scan) add(path string, err error) {
	if s.seen[path] {
		return
	}
	if len(s.found) >= MaxFiles && err == nil {
		if s.full {
			return
		}
		s.full = true
		path, err = filepath.Dir(path), fmt.Errorf("source: %s: got more than %d files, want fewer", filepath.Dir(path), MaxFiles)
	}
	s.seen[path] = true
	s.found = append(s.found, found{path: path, err: err})
}

// folder walks down. A folder that is being walked already, reached again over a symbolic link, is a loop and passed by.
func (s *scan) folder(dir string, depth int) {
	real, err := realPath(dir)
	if err != nil {
		s.add(dir, fmt.Errorf("source: %w", err))
		return
	}
	if s.folders[real] {
		return
	}
	if depth > maxDepth {
		s.add(dir, fmt.Errorf("source: %s: got more than %d folders within each other, want fewer", dir, maxDepth))
		return
	}
	s.folders[real] = true
	defer delete(s.folders, real)
	if s.watch != nil {
		s.watch(real, "")
	}
	once(s.listed, real, dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.add(dir, fmt.Errorf("source: %w", err))
		return
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	for _, e := range entries {
		if ignored(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		isDir := e.IsDir()
		if e.Type()&os.ModeSymlink != 0 {
			s.chain(path) // whatever its name: it may lead to a folder
			info, err := os.Stat(path)
			if err != nil {
				if document(e.Name()) {
					s.add(path, fmt.Errorf("source: %w", err))
				}
				continue
			}
			isDir = info.IsDir()
		}
		switch {
		case isDir:
			s.folder(path, depth+1)
		case document(e.Name()):
			s.add(path, nil)
			if e.Type().IsRegular() && s.watch != nil {
				once(s.plain, filepath.Join(real, e.Name()), path)
			}
		}
	}
}

// once notes by which path a real one is reached; "" is by several.
func once(m map[string]string, real, path string) {
	if _, twice := m[real]; twice {
		path = ""
	}
	m[real] = path
}

func realPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// chain watches every folder whose entries decide what path means, up to the nearest one that exists when the rest does
// not.
func (s *scan) chain(path string) {
	if s.watch == nil {
		return
	}
	for _, step := range chain(path) {
		s.watch(step.dir, step.name)
	}
}
