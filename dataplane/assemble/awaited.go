package assemble

import (
	"time"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/client"
)

// patience is how long a changed cluster waits for its endpoints to be sent again. A control plane sends them right
// behind the cluster, since Envoy would wait 15 s for them; with one that does not, a change is this much late.
const patience = time.Second

// awaited are names that are waited for: the assignments that are to come again behind a changed cluster, since the two may
// have changed together (another protocol on another port), and must serve together. Guarded by the Assembler's turn.
type awaited struct {
	// patience is how long each is waited for.
	patience time.Duration
	// until is when the waiting ends, by name.
	until map[string]time.Time
	timer *time.Timer
	// expired is called by the timer.
	expired func()
}

// expect begins to wait.
func (w *awaited) expect(name string) {
	if w.until == nil {
		w.until = map[string]time.Time{}
	}
	w.until[name] = time.Now().Add(w.patience)
	if w.timer == nil {
		w.timer = time.AfterFunc(w.patience, w.expired)
	}
}

func (w *awaited) came(name string) { delete(w.until, name) }

func (w *awaited) waits(name string) bool {
	_, ok := w.until[name]
	return ok
}

// expire ends what is overdue, and sets the timer for what is not.
func (w *awaited) expire() {
	w.timer = nil
	now, next := time.Now(), time.Duration(0)
	for name, until := range w.until {
		if left := until.Sub(now); left <= 0 {
			delete(w.until, name)
		} else if next == 0 || left < next {
			next = left
		}
	}
	if next > 0 {
		w.timer = time.AfterFunc(next, w.expired)
	}
}

func (w *awaited) stop() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// endsWaiting is a timer's turn: it ends what is overdue.
func (a *Assembler) endsWaiting(expire func()) func() {
	return func() {
		a.turn.Lock()
		defer a.turn.Unlock()
		if a.closed {
			return
		}
		expire()
		a.settle()
	}
}

// updateClusters takes a CDS response. Clusters that change wait for their endpoints; the versions before serve on.
func (a *Assembler) updateClusters(u client.Update, now time.Time) map[string]error {
	fresh := a.clusters.judge(u, now, true)
	for name, c := range fresh {
		a.expectEndpoints(name, c)
	}
	a.clusters.commit(fresh)
	return a.clusters.refusals(u)
}

func (a *Assembler) expectEndpoints(name string, c *entry[*config.Cluster]) {
	ref := c.value.AssignmentName
	if ref != "" && a.clusters.active[name] != nil && a.assignments.latest[ref] != nil {
		a.awaited.expect(ref)
	}
}
