package client_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-proxy/sluice/xds/client"
)

// earlier is what an earlier run left: "name@version" of each type, in the order in which it is handed over.
func earlier(handed *atomic.Int32) func() []client.Update {
	of := func(typeURL string, names ...string) client.Update {
		u := client.Update{TypeURL: typeURL, Version: "earlier"}
		for _, name := range names {
			u.Resources = append(u.Resources, client.Resource{Name: name, Version: "7", Body: body(typeURL, name)})
		}
		return u
	}
	return func() []client.Update {
		handed.Add(1)
		return []client.Update{of(cds, "a", "b"), of(eds, "a", "unwanted"), of(lds, "l", "bad"), of(rds, "r")}
	}
}

// following makes the receiver follow references: a to its endpoints and to others that never were, l to r.
func following(r *rig) {
	r.receiver.then = func(u client.Update) {
		switch u.TypeURL {
		case cds:
			r.client.Subscribe(eds, []string{"a", "never"})
		case lds:
			r.client.Subscribe(rds, []string{"r"})
		}
	}
	r.receiver.refuse = map[string]error{"bad": errors.New("not any more")}
}

const fallenBack = `CDS a@7 b@7
EDS a@7
LDS l@7 bad@7
RDS r@7
EDS missing never`

// TestFallback: who cannot be reached, or is silent, is stood in for by an earlier run. The next stream says what is
// there, in no version, so that what is gone is told and the rest sent again.
func TestFallback(t *testing.T) {
	for _, silent := range []bool{false, true} {
		var handed atomic.Int32
		runWith(t, false, earlier(&handed), func(r *rig) {
			following(r)
			r.client.SubscribeAll(cds)
			r.client.SubscribeAll(lds)
			if silent {
				r.transport.set(nil, true)
			} else {
				r.transport.set(errors.New("refused"), false)
			}
			began := time.Now()
			for handed.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			if took := time.Since(began); took > 510*time.Millisecond || !silent && took > 10*time.Millisecond {
				t.Errorf("silent %v: it took %v", silent, took)
			}
			expect(t, "handed over", r.receiver.take(), fallenBack)
			r.transport.set(nil, false)
			s := r.transport.accept()
			expect(t, "asked for", s.sent(), "CDS node=p1 have a@ have b@\nEDS +a +never have a@\nLDS have l@\nRDS +r have r@")
			s.push(cds, "n1", "a@8", "-b")
			expect(t, "and then", r.receiver.take(), "CDS a@8 -b")
			s.sent()
			s.err <- errors.New("gone")
			s = r.transport.accept()
			expect(t, "later", s.sent(), "CDS node=p1 have a@8\nEDS +a +never have a@\nLDS have l@\nRDS +r have r@")
			if handed.Load() != 1 {
				t.Errorf("asked %d times", handed.Load())
			}
		})
	}
}

// TestFallbackStateOfTheWorld: what the first full response lacks is gone.
func TestFallbackStateOfTheWorld(t *testing.T) {
	var handed atomic.Int32
	runWith(t, true, earlier(&handed), func(r *rig) {
		following(r)
		r.client.SubscribeAll(cds)
		r.client.SubscribeAll(lds)
		s := r.transport.accept()
		s.sent()
		s.err <- errors.New("gone")
		expect(t, "handed over", r.receiver.take(), fallenBack)
		s = r.transport.accept()
		expect(t, "asked for", s.sent(), "CDS node=p1 [] v=\"\"\nEDS [a never] v=\"\"\nLDS [] v=\"\"\nRDS [r] v=\"\"")
		s.state(cds, "1", "a", "c")
		expect(t, "absence", r.receiver.take(), "CDS a@1 c@1 -b")
	})
}

// TestNoFallback: who answers is not stood in for, however slow; and who has nothing to fall back to is in no hurry.
func TestNoFallback(t *testing.T) {
	var asked atomic.Int32
	runWith(t, false, func() []client.Update { asked.Add(1); return nil }, func(r *rig) {
		r.client.SubscribeAll(cds)
		r.transport.accept() // silent: hurried once
		s := r.transport.accept()
		time.Sleep(10 * time.Second)
		s.push(cds, "n1", "a@1")
		expect(t, "the slow one's", r.receiver.take(), "CDS a@1")
		if attempts, _ := r.transport.counts(); len(attempts) != 2 || asked.Load() != 1 {
			t.Errorf("%d streams, asked %d times", len(attempts), asked.Load())
		}
	})
	asked.Store(0)
	runWith(t, false, func() []client.Update { asked.Add(1); return nil }, func(r *rig) {
		r.client.SubscribeAll(cds)
		s := r.transport.accept()
		s.push(cds, "n1", "a@1")
		time.Sleep(10 * time.Second)
		if attempts, _ := r.transport.counts(); len(attempts) != 1 || asked.Load() != 0 {
			t.Errorf("%d streams, asked %d times", len(attempts), asked.Load())
		}
	})
}
