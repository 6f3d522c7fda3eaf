package xdstest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/xds/server"
)

// Patience is how long a test waits for an event that must come.
const Patience = 20 * time.Second

// Recorder is an Observer that keeps what it is told, a line each: "1 opened", "1 node test default", "1 sent CDS
// 0123…", "1 acked CDS 0123…", "1 nacked CDS 0123… text", "1 closed".
type Recorder struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed and replaced with each line
}

// NewRecorder makes an empty one.
func NewRecorder() *Recorder { return &Recorder{more: make(chan struct{})} }

func (r *Recorder) add(id server.StreamID, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%d ", id)+fmt.Sprintf(format, args...))
	close(r.more)
	r.more = make(chan struct{})
}

// Lines are all lines so far.
func (r *Recorder) Lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// Reset forgets all lines.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = nil
}

// Wait waits for a line that contains the text, and returns it.
func (r *Recorder) Wait(t testing.TB, text string) string {
	t.Helper()
	return r.WaitTimes(t, text, 1)
}

// WaitTimes waits for as many lines that contain the text, and returns the last of them.
func (r *Recorder) WaitTimes(t testing.TB, text string, times int) string {
	t.Helper()
	deadline := time.After(Patience)
	for {
		r.mu.Lock()
		lines, more := slices.Clone(r.lines), r.more
		r.mu.Unlock()
		found := 0
		for _, line := range lines {
			if strings.Contains(line, text) {
				if found++; found == times {
					return line
				}
			}
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("the observer was never told %q; it was told:\n%s", text, strings.Join(lines, "\n"))
		}
	}
}

// StreamOpened implements server.Observer.
func (r *Recorder) StreamOpened(id server.StreamID, _ string) { r.add(id, "opened") }

// StreamClosed implements server.Observer.
func (r *Recorder) StreamClosed(id server.StreamID) { r.add(id, "closed") }

// Node implements server.Observer.
func (r *Recorder) Node(id server.StreamID, n server.Node) { r.add(id, "node %s %s", n.ID, n.Cluster) }

// Sent implements server.Observer.
func (r *Recorder) Sent(id server.StreamID, typeURL, version string) {
	r.add(id, "sent %s %s", Short(typeURL), version)
}

// Acked implements server.Observer.
func (r *Recorder) Acked(id server.StreamID, typeURL, version string) {
	r.add(id, "acked %s %s", Short(typeURL), version)
}

// Nacked implements server.Observer.
func (r *Recorder) Nacked(id server.StreamID, typeURL, version, message string) {
	r.add(id, "nacked %s %s %s", Short(typeURL), version, message)
}
