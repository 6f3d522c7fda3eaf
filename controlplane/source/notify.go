package source

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// notifier says when something that matters may have changed. All methods are for the watcher's run goroutine only.
type notifier struct {
	fs *fsnotify.Watcher // nil: could not be had
	// events and errors are nil, and thus never ready, where fs is.
	events chan fsnotify.Event
	errors chan error
	log    *slog.Logger
	// armed says for each watched folder (its real path) which names matter; "" is all.
	armed map[string]map[string]bool
	// next becomes armed at the end of a scan.
	next map[string]map[string]bool
	// failed: in this scan a folder could not be watched. warned: that was logged.
	failed, warned bool
}

func newNotifier(log *slog.Logger) *notifier {
	n := &notifier{log: log, armed: map[string]map[string]bool{}}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("files cannot be watched and are looked at every two seconds", "error", err)
		n.warned = true
		return n
	}
	n.fs, n.events, n.errors = w, w.Events, w.Errors
	return n
}

func (n *notifier) close() {
	if n.fs != nil {
		n.fs.Close()
	}
}

// begin starts a scan, in which watch is called for everything that matters.
func (n *notifier) begin() {
	n.next, n.failed = map[string]map[string]bool{}, n.fs == nil
}

// watch arms dir at once, so that what changes while it is being listed is told. Adding a folder again is cheap, and
// mends a watch that still clings to a folder that was moved away.
func (n *notifier) watch(dir, name string) {
	names := n.next[dir]
	if names == nil {
		names = map[string]bool{}
		n.next[dir] = names
		if n.fs != nil {
			if err := n.fs.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				n.failed = true
				if !n.warned {
					n.warned = true
					n.log.Warn("a folder cannot be watched and is looked at every two seconds", "folder", dir, "error", err)
				}
			}
		}
	}
	names[name] = true
}

// end ends a scan and says whether polling must help out.
func (n *notifier) end() (poll bool) {
	if n.fs != nil {
		for dir := range n.armed {
			if n.next[dir] == nil {
				_ = n.fs.Remove(dir) // it may be gone by itself
			}
		}
	}
	n.armed = n.next
	if !n.failed && n.fs != nil {
		n.warned = false
	}
	return n.failed
}

// relevant says whether an event may change what the last scan saw.
func (n *notifier) relevant(e fsnotify.Event) bool {
	if n.armed[e.Name] != nil && e.Has(fsnotify.Remove|fsnotify.Rename) {
		return true // a watched folder itself went
	}
	names := n.armed[filepath.Dir(e.Name)]
	base := filepath.Base(e.Name)
	return names[base] || names[""] && !ignored(base)
}
