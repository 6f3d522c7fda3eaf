package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// sweepAfter is how long after a look at single files everything is looked at, for what no event told.
const sweepAfter = 10 * time.Second

// pending is what events told since the last look.
type pending struct {
	// files are those that changed and can be read by themselves.
	files map[string]bool
	// sweep: something else changed, so everything is to be looked at.
	sweep bool
}

// note takes an event that matters, and says whether it is a reason to look. What can be told by one file's new content needs
// no look at the thousands beside it; whatever changes which files there are, or what a name means, does.
func (w *Watcher) note(e fsnotify.Event) bool {
	dir, base := filepath.Split(e.Name)
	path, known := w.plain[e.Name]
	if folder := w.listed[filepath.Clean(dir)]; !known && folder != "" && document(base) && e.Has(fsnotify.Create|fsnotify.Write) {
		path, known = filepath.Join(folder, base), true // it is new
	}
	switch {
	case w.notify.armed[e.Name] != nil, w.notify.armed[filepath.Clean(dir)][base]:
		w.pending.sweep = true // a folder, or a name that decides what a path means
	case known && path != "" && !e.Has(fsnotify.Remove|fsnotify.Rename):
		if w.pending.files == nil {
			w.pending.files = map[string]bool{}
		}
		w.pending.files[path] = true
	case known || document(base):
		w.pending.sweep = true
	default:
		// What an editor writes first has another name. A folder is to be walked.
		info, err := os.Lstat(e.Name)
		if err != nil || info.Mode().IsRegular() {
			return false
		}
		w.pending.sweep = true
	}
	return true
}

// quick reads the files that changed, and hands over the set with them. It is false if that is not all that there is to do.
func (w *Watcher) quick(files map[string]bool) (again time.Duration, ok bool) {
	if !w.delivered || w.notify.failed || !w.losses.first.IsZero() {
		return 0, false
	}
	var had, now []File
	for path := range files {
		at, there := find(w.last, path)
		if info, err := os.Lstat(path); there && w.last[at].Err != nil || !there && len(w.last) >= MaxFiles || err != nil || !info.Mode().IsRegular() {
			return 0, false
		}
		data, info, err := readFile(path, false)
		if err != nil {
			return 0, false
		}
		w.cache[path] = cached{info: info, data: data, sure: time.Since(info.ModTime()) > settled}
		if now = append(now, File{Path: path, Data: data}); there {
			had = append(had, w.last[at])
		}
	}
	now, wait := w.losses.keep(had, now, w.opts.Grace)
	again = sweepAfter
	if wait > 0 {
		again = min(again, wait)
	}
	if sameFiles(had, now) {
		return again, true
	}
	all := slices.Clone(w.last)
	for _, f := range now {
		if at, there := find(all, f.Path); there {
			all[at] = f
		} else {
			all = slices.Insert(all, at, f)
		}
	}
	w.last = all
	w.hand(all)
	return again, true
}

func find(files []File, path string) (int, bool) {
	return slices.BinarySearchFunc(files, path, func(f File, path string) int { return strings.Compare(f.Path, path) })
}
