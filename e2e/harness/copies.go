package harness

import "time"

// awaitCopies waits for requests that nobody's answer waits for: where more are expected at upstreams than were sent, some
// are copies.
func (s *Stage) awaitCopies(e *Exchange) {
	want := 0
	for _, share := range e.Expect.Served {
		want += max(0, share.Count)
	}
	if want <= e.Times {
		return
	}
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		whole := 0
		for _, u := range s.Upstreams {
			u.update(func() {
				for _, seen := range u.seen {
					if seen.Whole {
						whole++
					}
				}
			})
		}
		if whole >= want {
			return
		}
	}
}
