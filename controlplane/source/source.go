// Package source is where definitions live: files and folders, read once or watched.
//
// In: paths that a person named, and standard input. Out: the full set of files with their bytes, whenever it
// changed: always the latest, never a queue. It must not know what stands in the files.
package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Stdin is the path that means standard input, and StdinName the name under which it is reported.
const (
	Stdin     = "-"
	StdinName = "<stdin>"
)

// Limits on what a folder can make us read.
const (
	// MaxFileSize is for one file, in bytes.
	MaxFileSize = 16 << 20
	// MaxFiles is for all paths together.
	MaxFiles = 50_000
	// maxDepth is for folders within folders.
	maxDepth = 64
)

// File is one file with definitions.
type File struct {
	// Path is the named path, or a path below the named folder.
	Path string
	// Data is the content. Readers must not change it.
	Data []byte
	// Err says why Path could not be read. Path may then be a folder, and what stands below it is unknown.
	Err error
}

// Files lists the files that path stands for, sorted: itself, or everything below a folder that ends in .yaml, .yml or
// .json, in any case, and is neither hidden nor an editor's temporary file. Symbolic links are followed.
func Files(path string) ([]string, error) {
	s := newScan(nil, nil)
	s.root(path)
	var errs []error
	paths := make([]string, 0, len(s.found))
	for _, f := range s.found {
		paths = append(paths, f.path)
		if f.err != nil {
			errs = append(errs, f.err)
		}
	}
	return paths, errors.Join(errs...)
}

// Read reads paths once, in the order of their names: files, folders, or "-" for stdin. Each file that could not be
// read stands in the result with its Err; the error joins them all.
func Read(paths []string, stdin io.Reader) ([]File, error) {
	s := newScan(nil, nil)
	s.pipes = true
	files := s.read(paths)
	if hasStdin(paths) {
		files = append(files, readStdin(stdin))
	}
	sortFiles(files)
	var errs []error
	for _, f := range files {
		if f.Err != nil {
			errs = append(errs, f.Err)
		}
	}
	return files, errors.Join(errs...)
}

func hasStdin(paths []string) bool {
	for _, p := range paths {
		if p == Stdin {
			return true
		}
	}
	return false
}

func readStdin(stdin io.Reader) File {
	if stdin == nil {
		return File{Path: StdinName, Err: errors.New("source: standard input is not there")}
	}
	data, err := readLimited(stdin)
	if err != nil {
		return File{Path: StdinName, Err: fmt.Errorf("source: %s: %w", StdinName, err)}
	}
	return File{Path: StdinName, Data: data}
}

func readLimited(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFileSize {
		return nil, fmt.Errorf("got more than %d bytes, want a smaller file", MaxFileSize)
	}
	return data, nil
}

// readFile reads a regular file; pipes are read only where pipes is true, since they can be read but once.
func readFile(path string, pipes bool) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if mode := info.Mode(); !mode.IsRegular() && (!pipes || mode&(fs.ModeNamedPipe|fs.ModeCharDevice) == 0) {
		return nil, nil, fmt.Errorf("%s: got %s, want a regular file", path, mode.Type())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	data, err := readLimited(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, info, nil
}

func sortFiles(files []File) {
	sort.SliceStable(files, func(i, j int) bool { return files[i].Path < files[j].Path })
}

// document says whether a name below a folder is a file with definitions.
func document(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return !ignored(name)
	}
	return false
}
