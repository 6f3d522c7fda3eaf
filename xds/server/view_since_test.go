package server

import (
	"testing"
	"time"
)

// TestSince: what waits for its verdict does so since it was sent, what was refused since then, and what is in order since it
// was made, or the stream began.
func TestSince(t *testing.T) {
	one := manyClusters(t, 2, 0, nil)
	clock := time.Now().Add(time.Hour)
	st := newState(config{delta: true, maxNames: 10, now: func() time.Time { return clock }, unserved: func(string) {}})
	began := clock
	st.adopt(one)
	_ = st.handle(&request{typeURL: cds})
	want := func(what, name string, state State, since time.Time) {
		t.Helper()
		for _, v := range st.view(false) {
			if v.TypeURL == cds && v.Name == name && (v.State != state || !v.Since.Equal(since)) {
				t.Errorf("%s: got %s since %v, want %s since %v", what, v.State, v.Since, state, since)
			}
		}
	}
	want("not sent", "cluster-0", NotSent, began)
	clock = clock.Add(time.Hour)
	m := st.next()
	sent := clock
	clock = clock.Add(time.Hour)
	want("sent", "cluster-0", Stale, sent)
	_ = st.handle(&request{typeURL: cds, nonce: m.nonce})
	st.settle()
	want("accepted", "cluster-0", Synced, began)
	two := manyClusters(t, 2, 1, one)
	st.adopt(two)
	m = st.next()
	clock = clock.Add(time.Hour)
	words := "no"
	_ = st.handle(&request{typeURL: cds, nonce: m.nonce, refused: &words})
	want("refused", "cluster-0", Refused, clock)
	want("beside it", "cluster-1", Synced, began)
}
