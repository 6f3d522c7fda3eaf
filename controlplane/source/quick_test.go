package source

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// still is a watcher that hears of no event by itself, after its first look.
func still(t *testing.T, dir string) *Watcher {
	log := slog.New(slog.DiscardHandler)
	w := &Watcher{
		opts: Options{Paths: []string{dir}, Grace: time.Minute}, log: log,
		updates: make(chan []File, 1), nudge: make(chan struct{}, 1), notify: newNotifier(log),
	}
	t.Cleanup(w.notify.close)
	w.turn()
	return w
}

func (w *Watcher) taken(dir string) string {
	select {
	case files := <-w.updates:
		return text(dir, files)
	default:
		return "nothing"
	}
}

// TestQuick: a file that an event names is read, and no other is looked at; a sweep finds the rest.
func TestQuick(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml")
	write(t, a, "a1")
	write(t, b, "b1")
	w := still(t, dir)
	before := w.taken(dir)
	write(t, a, "a2")
	write(t, b, "b2")
	var steps []string
	look := func(events ...fsnotify.Event) {
		for _, e := range events {
			if !w.notify.relevant(e) || !w.note(e) {
				t.Errorf("%v: got no reason to look", e)
			}
		}
		w.turn()
		steps = append(steps, w.taken(dir))
	}
	look(fsnotify.Event{Name: a, Op: fsnotify.Create})
	look(fsnotify.Event{Name: a, Op: fsnotify.Write})
	look()
	write(t, a, "a")
	look(fsnotify.Event{Name: a, Op: fsnotify.Write}) // cut short: it is kept for a while
	c := filepath.Join(dir, "aa.yaml")
	write(t, c, "c1")
	look(fsnotify.Event{Name: c, Op: fsnotify.Create}) // while a is kept, so all is looked at
	must(t, os.Remove(b))
	write(t, a, "a3")
	look(fsnotify.Event{Name: a, Op: fsnotify.Write}) // and then all is looked at, though b is kept, too
	write(t, b, "b3")
	w.sweepAt = time.Now()
	look(fsnotify.Event{Name: a, Op: fsnotify.Write}) // it is time
	d := filepath.Join(dir, "ab.yaml")
	write(t, d, "d1")
	write(t, b, "b4")
	look(fsnotify.Event{Name: d, Op: fsnotify.Create}) // it alone
	want := []string{"a.yaml=a2 b.yaml=b1", "nothing", "a.yaml=a2 b.yaml=b2", "nothing", "a.yaml=a2 aa.yaml=c1 b.yaml=b2",
		"a.yaml=a3 aa.yaml=c1 b.yaml=b2", "a.yaml=a3 aa.yaml=c1 b.yaml=b3", "a.yaml=a3 aa.yaml=c1 ab.yaml=d1 b.yaml=b3"}
	if before != "a.yaml=a1 b.yaml=b1" {
		t.Errorf("got %q at first", before)
	}
	for i := range want {
		if steps[i] != want[i] {
			t.Errorf("step %d: got %q, want %q", i, steps[i], want[i])
		}
	}
}

// TestNote: what changes which files there are, or what a name means, is a reason to look at everything; what an editor writes
// first is none to look at all.
func TestNote(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "a")
	write(t, filepath.Join(dir, "sub", "b.yaml"), "b")
	write(t, filepath.Join(dir, "loose", "c.yaml"), "c")
	must(t, os.Symlink(filepath.Join(dir, "loose", "c.yaml"), filepath.Join(dir, "linked.yaml")))
	write(t, filepath.Join(dir, "sed1234"), "x")
	w := still(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, "new"), 0o700))
	for _, step := range []struct {
		name        string
		op          fsnotify.Op
		look, sweep bool
	}{
		{"a.yaml", fsnotify.Write, true, false},
		{"a.yaml", fsnotify.Create, true, false},
		{"a.yaml", fsnotify.Chmod, true, false},
		{"a.yaml", fsnotify.Remove, true, true},
		{"a.yaml", fsnotify.Rename, true, true},
		{"sub/b.yaml", fsnotify.Write, true, false},
		{"loose/c.yaml", fsnotify.Write, true, true}, // a link leads to it
		{"linked.yaml", fsnotify.Create, true, true},
		{"other.yaml", fsnotify.Create, true, false},
		{"other.yaml", fsnotify.Remove, true, true},
		{"new/other.yaml", fsnotify.Create, false, false}, // nobody listens there yet
		{"sub", fsnotify.Remove, true, true},
		{"new", fsnotify.Create, true, true},
		{"sed1234", fsnotify.Write, false, false},
		{"sed1234-gone", fsnotify.Rename, false, false},
	} {
		w.pending = pending{}
		e := fsnotify.Event{Name: filepath.Join(dir, step.name), Op: step.op}
		if look := w.notify.relevant(e) && w.note(e); look != step.look || w.pending.sweep != step.sweep {
			t.Errorf("%v: got a look %v and a sweep %v, want %v and %v", e, look, w.pending.sweep, step.look, step.sweep)
		}
	}
}
