package quarantine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

func says(version) string { return "no" }

// edited is a model whose proxies have accepted version 1 of some documents, and then one gets a version 2, which is bad.
func edited(t *testing.T, players ...*player) *model {
	m := newModel(t, nil, nil)
	for i := range 8 {
		m.put(doc("Service", fmt.Sprint("s", i), "1"))
	}
	for _, p := range players {
		m.join(p)
	}
	m.build()
	m.run(20 * time.Second)
	m.put(doc("Service", "s3", "2"), doc("Service", "s4", "2"))
	m.build()
	return m
}

var badEdit = [][]version{{{definition.Ref{Kind: "Service", Name: "s3"}, "2"}}}

func (m *model) version(name string) string {
	if d := m.served[definition.Ref{Kind: "Service", Name: name}]; d != nil {
		return d.Hash
	}
	return ""
}

// TestLife goes through what becomes of a conviction: a restart, more proxies, other proxies, another text.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := edited(t, refusing("envoy 1", badEdit, says))
		m.run(time.Minute)
		if m.version("s3") != "1" || m.version("s4") != "2" || m.room.Count() != 1 {
			t.Fatalf("got s3 %s, s4 %s, held %v, want the last good version of the one", m.version("s3"), m.version("s4"), m.held())
		}

		// Another process knows: nothing bad is ever published.
		accepted := byRef(m.kept)
		kept := m.room.Keep()
		m.room.Close()
		next := newModel(t, accepted, kept)
		defer next.room.Close()
		next.files = m.files
		next.build()
		again := refusing("envoy 1", badEdit, says)
		first := next.join(again)
		next.run(time.Hour)
		if again.refused > 0 || next.version("s3") != "1" || next.room.Count() != 1 {
			t.Errorf("after a restart: got %d refusals, s3 %s, held %v", again.refused, next.version("s3"), next.held())
		}

		// One more of the kind: it is asked once, and no more for ever.
		more := refusing("envoy 1", badEdit, says)
		next.join(more)
		next.run(24 * time.Hour)
		if again.refused != 1 || more.refused != 1 {
			t.Errorf("with one more proxy: got %d and %d refusals, want one of each", again.refused, more.refused)
		}

		// A newer version of the proxies takes it.
		next.leave(first)
		next.leave(first + 1)
		next.join(fine("envoy 2"))
		next.run(time.Hour)
		if next.version("s3") != "2" || next.room.Count() != 0 {
			t.Errorf("with newer proxies: got s3 %s, held %v, want it served", next.version("s3"), next.held())
		}

		// And the old ones, when they come back, are not what it is withdrawn for.
		old := refusing("envoy 1", badEdit, says)
		next.join(old)
		next.run(time.Hour)
		if next.version("s3") != "2" || old.refused != 1 {
			t.Errorf("an old proxy: got s3 %s, %d refusals, want what runs left alone", next.version("s3"), old.refused)
		}
	})
}

// TestMended: another text is served at once.
func TestMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := edited(t, refusing("envoy 1", badEdit, says), fine("sluice-proxy"))
		defer m.room.Close()
		m.run(time.Minute)
		if got := m.held(); !slices.Equal(got, []string{"Service/s3@2"}) {
			t.Fatalf("got %v held back, want what one kind of two refuses", got)
		}
		m.put(doc("Service", "s3", "3"))
		m.build()
		if m.version("s3") != "3" || m.room.Count() != 0 {
			t.Errorf("got s3 %s, held %v, want the new text", m.version("s3"), m.held())
		}
	})
}

// TestOwnTrouble: what others of its kind accept is not held back because of one proxy, be it the first to speak.
func TestOwnTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := edited(t, refusing("envoy 1", badEdit, says), fine("envoy 1"), fine("envoy 1"))
		defer m.room.Close()
		m.run(time.Hour)
		if m.version("s3") != "2" || m.room.Count() != 0 || m.room.pushes != 0 {
			t.Errorf("got s3 %s, held %v, %d pushes, want nothing done", m.version("s3"), m.held(), m.room.pushes)
		}
	})
}

// TestDeletion: a deletion that proxies refuse is not done.
func TestDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := edited(t, fine("envoy 1"))
		defer m.room.Close()
		m.run(time.Minute)
		for _, p := range m.proxies {
			p.refuses = func(served map[definition.Ref]*definition.Document, url string) string {
				if served[definition.Ref{Kind: "Service", Name: "s5"}] == nil && url == typeOf["Service"] {
					return "s5 is missed"
				}
				return ""
			}
		}
		delete(m.files, definition.Ref{Kind: "Service", Name: "s5"})
		delete(m.files, definition.Ref{Kind: "Service", Name: "s6"})
		m.put(doc("Service", "s7", "2"))
		m.build()
		m.run(time.Minute)
		if m.version("s5") != "1" || m.version("s6") != "" || m.version("s7") != "2" || !slices.Equal(m.held(), []string{"Service/s5@"}) {
			t.Errorf("got s5 %q, s6 %q, s7 %q, held %v", m.version("s5"), m.version("s6"), m.version("s7"), m.held())
		}
	})
}

// TestDifferences of random lists are those that a look at each name finds.
func TestDifferences(t *testing.T) {
	list := func() (all []*definition.Document) {
		for i := range 8 {
			if rand.IntN(3) > 0 {
				all = append(all, doc("Service", fmt.Sprint("s", i), fmt.Sprint(rand.IntN(2))))
			}
		}
		return all
	}
	for range 500 {
		from, to := list(), list()
		for i, d := range to {
			if old := byRef(from)[d.Ref]; old != nil && rand.IntN(2) == 0 {
				to[i] = old
			}
		}
		var want []change
		for i := range 8 {
			ref := definition.Ref{Kind: "Service", Name: fmt.Sprint("s", i)}
			old, now := byRef(from)[ref], byRef(to)[ref]
			if (old == nil) != (now == nil) || old != nil && old.Hash != now.Hash {
				want = append(want, change{old, now})
			}
		}
		if got := differences(from, to); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}
