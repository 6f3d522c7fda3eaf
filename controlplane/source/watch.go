package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"
)

// Options say what to watch.
type Options struct {
	// Paths are files, folders, or "-".
	Paths []string
	// Stdin is read once, to its end, if a path is "-".
	Stdin io.Reader
	// HoldOff is how long things must be quiet before they are read. 0 is 50 ms.
	HoldOff time.Duration
	// MaxDelay is how long a change waits at most, though things never get quiet. 0 is 500 ms.
	MaxDelay time.Duration
	// Grace is how long files that are gone or cut short still count as they were: an editor may write them again yet.
	// It counts from the last loss, and not for ever: a folder with thousands of files goes as a whole. 0 is 2 s.
	Grace time.Duration
	// Logger gets what hinders watching. Nil: nothing is logged.
	Logger *slog.Logger
}

const (
	defaultHoldOff  = 50 * time.Millisecond
	defaultMaxDelay = 500 * time.Millisecond
	defaultGrace    = 2 * time.Second
	// pollInterval is for what cannot be watched, such as when the system's limit on watches is reached.
	pollInterval = 2 * time.Second
)

// Watcher hands over the latest full set of files.
type Watcher struct {
	// Read-only after Watch.
	opts    Options
	log     *slog.Logger
	updates chan []File   // holds the latest set that nobody took yet
	nudge   chan struct{} // extra changed: look again
	done    chan struct{} // the run goroutine ended

	// Guarded by mu.
	mu    sync.Mutex
	extra []string

	// Only the run goroutine.
	notify    *notifier
	cache     map[string]cached
	plain     map[string]string // see scan.plain
	listed    map[string]string // see scan.listed
	pending   pending
	sweepAt   time.Time // when all is looked at again, at the latest; zero: all was
	stdin     []File
	last      []File
	lastExtra map[string][sha256.Size]byte
	losses    losses
	delivered bool
}

// Watch watches until ctx ends. What cannot be watched is looked at every two seconds instead, and logged.
func Watch(ctx context.Context, opts Options) *Watcher {
	if opts.HoldOff <= 0 {
		opts.HoldOff = defaultHoldOff
	}
	if opts.MaxDelay <= 0 {
		opts.MaxDelay = defaultMaxDelay
	}
	if opts.Grace <= 0 {
		opts.Grace = defaultGrace
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		opts: opts, log: opts.Logger,
		updates: make(chan []File, 1), nudge: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go w.run(ctx)
	return w
}

// Next waits for a set that differs from the one handed over before, in a document or in an extra file. The first comes
// at once. It skips all sets but the latest.
func (w *Watcher) Next(ctx context.Context) ([]File, error) {
	select {
	case files := <-w.updates:
		return files, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Updates is where Next takes the sets from, for a caller that waits for other things too.
func (w *Watcher) Updates() <-chan []File { return w.updates }

// Done is closed when the watcher has let go of everything, after its context ended.
func (w *Watcher) Done() <-chan struct{} { return w.done }

// SetExtra names files that definitions refer to. A change to one hands over the set of files again, and so does a name
// that was not there before.
func (w *Watcher) SetExtra(paths []string) {
	paths = slices.Clone(paths)
	sort.Strings(paths)
	paths = slices.Compact(paths)
	w.mu.Lock()
	same := slices.Equal(w.extra, paths)
	w.extra = paths
	w.mu.Unlock()
	if same {
		return
	}
	select {
	case w.nudge <- struct{}{}:
	default:
	}
}

func (w *Watcher) run(ctx context.Context) {
	defer close(w.done)
	w.notify = newNotifier(w.log)
	defer w.notify.close()
	if hasStdin(w.opts.Paths) {
		read := make(chan File, 1)
		go func() { read <- readStdin(w.opts.Stdin) }()
		select {
		case f := <-read:
			w.stdin = []File{f}
		case <-ctx.Done():
			return
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var deadline time.Time // when pending changes are read at the latest; zero: none are pending
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.nudge:
			w.pending.sweep = true
			timer.Reset(0)
		case err := <-w.notify.errors:
			// The queue overflowed: events are lost, so everything is looked at again.
			w.log.Debug("watching files", "error", err)
			w.pending.sweep = true
			deadline = w.postpone(timer, deadline)
		case e := <-w.notify.events:
			if w.notify.relevant(e) && w.note(e) {
				deadline = w.postpone(timer, deadline)
			}
		case <-timer.C:
			deadline = time.Time{}
			if again := w.turn(); again > 0 {
				timer.Reset(again)
			}
		}
	}
}

// postpone waits until things are quiet, but not beyond the deadline, which it returns.
func (w *Watcher) postpone(timer *time.Timer, deadline time.Time) time.Time {
	now := time.Now()
	if deadline.IsZero() {
		deadline = now.Add(w.opts.MaxDelay)
	}
	timer.Reset(max(0, min(w.opts.HoldOff, deadline.Sub(now))))
	return deadline
}

// turn looks at what events told, or at everything. It returns what look does.
func (w *Watcher) turn() time.Duration {
	p := w.pending
	w.pending = pending{}
	if now := time.Now(); !p.sweep && len(p.files) > 0 && (w.sweepAt.IsZero() || now.Before(w.sweepAt)) {
		if again, ok := w.quick(p.files); ok {
			if w.sweepAt.IsZero() {
				w.sweepAt = now.Add(sweepAfter)
			}
			return min(again, max(time.Until(w.sweepAt), time.Millisecond))
		}
	}
	w.sweepAt = time.Time{}
	return w.look()
}

// look reads everything and hands it over if it differs. It returns after how long to look again though nothing may
// tell; 0 is never.
func (w *Watcher) look() time.Duration {
	w.mu.Lock()
	extra := w.extra
	w.mu.Unlock()

	w.notify.begin()
	s := newScan(w.cache, w.notify.watch)
	files := append(s.read(w.opts.Paths), w.stdin...)
	w.cache, w.plain, w.listed = s.next, s.plain, s.listed
	extraNow := map[string][sha256.Size]byte{}
	for _, p := range extra {
		s.chain(p)
		data, _, err := readFile(p, false)
		if err != nil {
			data = []byte("error: " + err.Error())
		}
		extraNow[p] = sha256.Sum256(data)
	}
	var again time.Duration
	if w.notify.end() {
		again = pollInterval
	}
	files, wait := w.losses.keep(w.last, files, w.opts.Grace)
	if wait > 0 && (again == 0 || wait < again) {
		again = wait
	}
	sortFiles(files)
	if w.delivered && sameFiles(files, w.last) && sameExtra(w.lastExtra, extraNow) {
		w.lastExtra = extraNow
		return again
	}
	w.last, w.lastExtra, w.delivered = files, extraNow, true
	w.hand(files)
	return again
}

// hand hands over a set. The latest wins: it takes back what nobody took.
func (w *Watcher) hand(files []File) {
	select {
	case <-w.updates:
	default:
	}
	w.updates <- files
}

func sameFiles(a, b []File) bool {
	return slices.EqualFunc(a, b, func(x, y File) bool {
		return x.Path == y.Path && errorText(x.Err) == errorText(y.Err) && bytes.Equal(x.Data, y.Data)
	})
}

// sameExtra compares the files that are named now. One that was only now named counts as changed once: who named it read
// it before it was looked at here, and it may have changed in between.
func sameExtra(old, now map[string][sha256.Size]byte) bool {
	for p, sum := range now {
		if before, ok := old[p]; !ok || before != sum {
			return false
		}
	}
	return true
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
