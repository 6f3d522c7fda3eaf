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
	// Logger gets what hinders watching. Nil: nothing is logged.
	Logger *slog.Logger
}

const (
	defaultHoldOff  = 50 * time.Millisecond
	defaultMaxDelay = 500 * time.Millisecond
	// emptyGrace is how long a file that was cut to nothing still counts as it was: an editor may write it again yet.
	emptyGrace = 2 * time.Second
	// vanishGrace is how long files that are being deleted one after another are waited for: a folder with thousands of
	// them goes as a whole, and is not taken for some deletions and then some more.
	vanishGrace = 5 * time.Second
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
	stdin     []File
	last      []File
	lastExtra map[string][sha256.Size]byte
	emptied   map[string]time.Time
	vanished  int       // how many files of last were gone at the last look
	since     time.Time // when the first of them was
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
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{
		opts: opts, log: opts.Logger,
		updates: make(chan []File, 1), nudge: make(chan struct{}, 1), done: make(chan struct{}),
		emptied: map[string]time.Time{},
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

// SetExtra names files that definitions refer to. A change to one hands over the set of files again.
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
			timer.Reset(0)
		case err := <-w.notify.errors:
			// The queue overflowed: events are lost, so everything is looked at again.
			w.log.Debug("watching files", "error", err)
			deadline = w.postpone(timer, deadline)
		case e := <-w.notify.events:
			if w.notify.relevant(e) {
				deadline = w.postpone(timer, deadline)
			}
		case <-timer.C:
			deadline = time.Time{}
			if again := w.look(); again > 0 {
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

// look reads everything and hands it over if it differs. It returns after how long to look again though nothing may
// tell; 0 is never.
func (w *Watcher) look() time.Duration {
	w.mu.Lock()
	extra := w.extra
	w.mu.Unlock()

	w.notify.begin()
	s := newScan(w.cache, w.notify.watch)
	files := append(s.read(w.opts.Paths), w.stdin...)
	w.cache = s.next
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
	sortFiles(files)
	if wait := w.keepEmptied(files); wait > 0 && (again == 0 || wait < again) {
		again = wait
	}

	if wait := w.awaitVanished(files); wait > 0 {
		return wait
	}
	if w.delivered && sameFiles(files, w.last) && sameExtra(w.lastExtra, extraNow) {
		w.lastExtra = extraNow
		return again
	}
	w.last, w.lastExtra, w.delivered = files, extraNow, true
	select { // latest wins: take back what nobody took
	case <-w.updates:
	default:
	}
	w.updates <- files
	return again
}

// awaitVanished says how long to wait while files go one after another: until two looks agree on what is gone.
func (w *Watcher) awaitVanished(files []File) time.Duration {
	now := make(map[string]bool, len(files))
	for _, f := range files {
		now[f.Path] = true
	}
	gone := 0
	for _, f := range w.last {
		if !now[f.Path] {
			gone++
		}
	}
	before := w.vanished
	w.vanished = gone
	switch {
	case gone == 0:
		return 0
	case before == 0:
		w.since = time.Now()
	case gone == before || time.Since(w.since) > vanishGrace:
		w.vanished = 0
		return 0
	}
	return w.opts.HoldOff
}

// keepEmptied gives files that were just cut to nothing the content that they had, for emptyGrace.
func (w *Watcher) keepEmptied(files []File) (again time.Duration) {
	now := time.Now()
	had := map[string][]byte{}
	for _, f := range w.last {
		if f.Err == nil && len(f.Data) > 0 {
			had[f.Path] = f.Data
		}
	}
	emptied := map[string]time.Time{}
	for i, f := range files {
		data, ok := had[f.Path]
		if !ok || f.Err != nil || len(bytes.TrimSpace(f.Data)) > 0 {
			continue
		}
		since, seen := w.emptied[f.Path]
		if !seen {
			since = now
		}
		if left := emptyGrace - now.Sub(since); left > 0 {
			emptied[f.Path] = since
			files[i].Data = data
			if again == 0 || left < again {
				again = left
			}
		}
	}
	w.emptied = emptied
	return again
}

func sameFiles(a, b []File) bool {
	return slices.EqualFunc(a, b, func(x, y File) bool {
		return x.Path == y.Path && errorText(x.Err) == errorText(y.Err) && bytes.Equal(x.Data, y.Data)
	})
}

// sameExtra compares the files that both have: a file that was only now named is no change of a file.
func sameExtra(old, now map[string][sha256.Size]byte) bool {
	for p, sum := range now {
		if before, ok := old[p]; ok && before != sum {
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
