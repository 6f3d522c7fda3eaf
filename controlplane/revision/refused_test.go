package revision

import (
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// TestRefused: what the quarantine serves and withdraws to find what proxies refuse is told once it is known, and what is refused
// is no revision: an undo must not bring it back.
func TestRefused(t *testing.T) {
	one, two, b := service("a", "127.0.0.1:1"), service("a", "127.0.0.1:2"), service("b", "127.0.0.1:1")
	for name, c := range map[string]struct {
		before, text string // what stands in the files first, and what proxies refuse of it: of a
		served       string // when that is found
		log          string
		after        string // an undo
	}{
		"a new document": {b, b + one, "b=127.0.0.1:1", "1 start added b", ""},
		"with another": {b, service("b", "127.0.0.1:2") + one, "b=127.0.0.1:2",
			"1 start added b, 2 files changed b", "b=127.0.0.1:1"},
		"an edit":      {one, two, "a=127.0.0.1:1", "1 start added a", ""},
		"a deletion":   {b + one, b, "a=127.0.0.1:1 b=127.0.0.1:1", "1 start added a added b", ""},
		"all there is": {"", b + one, "b=127.0.0.1:1", "1 start added b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.save(c.before)
			good := w.store.Accepted()[definition.Ref{Kind: "Service", Name: "a"}]
			w.save(c.text)
			bad := store.Held{Hash: hash(w.store.Accepted()[definition.Ref{Kind: "Service", Name: "a"}]), Instead: good}
			hold := func(h store.Held) {
				w.held = map[string]store.Held{"a": h}
				w.build()
			}
			convicted := bad
			convicted.Why = "they refuse it"
			hold(bad)       // in doubt
			w.held = nil    // heard once more
			w.build()       //
			hold(convicted) // refused again
			w.want(c.served)
			if got := w.log(); got != c.log {
				t.Errorf("got %q, want %q", got, c.log)
			}
			w.held = nil // it is tried again, in vain
			w.build()
			hold(convicted)
			w.want(c.served)
			if got := w.log(); got != c.log {
				t.Errorf("after another try: got %q, want %q", got, c.log)
			}
			u, err := w.Prospect(0)
			if c.after == "" {
				if code(err) != codes.FailedPrecondition {
					t.Errorf("undo: got %v, want that there is nothing to go back to", err)
				}
				return
			}
			w.do(u, err)
			if got := w.served(); got != c.after {
				t.Errorf("undone: got %q, want %q", got, c.after)
			}
		})
	}
}

// TestAcquitted: what was only in doubt is one revision, as if nobody had doubted.
func TestAcquitted(t *testing.T) {
	w := newWorld(t)
	w.save(service("b", "127.0.0.1:1"))
	w.save(service("b", "127.0.0.1:1") + service("a", "127.0.0.1:1"))
	a := definition.Ref{Kind: "Service", Name: "a"}
	w.held = map[string]store.Held{"a": {Hash: w.store.Accepted()[a].Hash}}
	w.build()
	w.want("b=127.0.0.1:1")
	w.held = nil
	w.build()
	w.want("a=127.0.0.1:1 b=127.0.0.1:1")
	if got, want := w.log(), "1 start added b, 2 files added a"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestUndoneRefused: an undo to a version that proxies refuse comes to nothing, and says so.
func TestUndoneRefused(t *testing.T) {
	w := newWorld(t)
	w.save(service("a", "127.0.0.1:1"))
	a := definition.Ref{Kind: "Service", Name: "a"}
	old := w.store.Accepted()[a]
	w.save(service("a", "127.0.0.1:2"))
	w.held = map[string]store.Held{"a": {Hash: old.Hash, Instead: w.store.Accepted()[a], Why: "they refuse it"}}
	u, err := w.Prospect(0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan *Revision, 1)
	go func() {
		r, err := w.Do(t.Context(), u, "me")
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-w.Changed()
	w.build()
	if r := <-done; r != nil {
		t.Errorf("got revision %d, want none", r.Number)
	}
}
