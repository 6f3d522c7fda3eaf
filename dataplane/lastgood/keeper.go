package lastgood

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluice-proxy/sluice/xds/client"
)

// hold is how long a change waits for others before it is written, and again how long what failed does; writing takes no
// more than one part in effort of the time.
const (
	hold   = time.Second
	again  = 30 * time.Second
	effort = 20
)

// Keeper writes what serves.
type Keeper struct {
	dir     string
	node    Node
	current func() []client.Update
	logger  *slog.Logger
	changed chan struct{}

	mu sync.Mutex
	// stopped is guarded by mu, which is held while the file is written.
	stopped bool
}

// NewKeeper makes a Keeper for a folder, which is made (0700) if it is not there. current is what serves, in the order in
// which it is to be handed over. The error is of the folder.
func NewKeeper(dir string, node Node, current func() []client.Update, logger *slog.Logger) (*Keeper, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("last good configuration: %w", err)
	}
	probe, err := os.CreateTemp(dir, name+".*.tmp")
	if err != nil {
		return nil, fmt.Errorf("last good configuration: %w", err)
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	return &Keeper{dir: dir, node: node, current: current, logger: logger, changed: make(chan struct{}, 1)}, nil
}

// Changed says that something else serves now. It never waits.
func (k *Keeper) Changed() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// Run writes what changed, at most once a second and a twentieth of the time, until ctx ends; what is not written by then
// is written at the end. Nobody else may write to the folder from now on.
func (k *Keeper) Run(ctx context.Context) {
	// What a writer left that was killed.
	left, _ := filepath.Glob(filepath.Join(k.dir, name+".*.tmp"))
	for _, path := range left {
		_ = os.Remove(path)
	}
	pause := hold
	for {
		select {
		case <-k.changed:
		case <-ctx.Done():
			select {
			case <-k.changed:
				k.save()
			default:
			}
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
		// What changed meanwhile is in it.
		select {
		case <-k.changed:
		default:
		}
		pause = k.save()
	}
}

// Stop writes nothing any more, when it has returned: the folder is another's.
func (k *Keeper) Stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
}

// save returns how long the next one shall wait. What fails is tried again.
func (k *Keeper) save() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stopped {
		return hold
	}
	began := time.Now()
	err := write(k.dir, encode(k.node, &Saved{At: began, Updates: k.current()}))
	if err != nil {
		k.logger.Error("the last good configuration could not be kept; the older one stays", "folder", k.dir, "error", err, "retry_in", again)
		k.Changed()
		return again
	}
	return max(hold, effort*time.Since(began))
}
