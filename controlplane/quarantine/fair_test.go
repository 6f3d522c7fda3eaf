package quarantine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// stranger refuses a share of what it gets, and says that it is because of any service.
func stranger(class string, rnd *rand.Rand, percent int) *player {
	return &player{class: class, refuses: func(map[definition.Ref]*definition.Document, string) string {
		if rnd.IntN(100) < percent {
			return fmt.Sprintf("I do not like s%d", rnd.IntN(3))
		}
		return ""
	}}
}

// refusesAll refuses everything, but for nothing at all.
func refusesAll(served map[definition.Ref]*definition.Document, url string) string {
	if len(served) > 0 && url == resource.ClusterType {
		return "no"
	}
	return ""
}

// TestWords: what is told of a document is what was said of it, though others speak first, or were there alone for a while.
func TestWords(t *testing.T) {
	s3 := definition.Ref{Kind: "Service", Name: "s3"}
	for _, c := range []struct {
		name  string
		words string
		among bool // the one that knows is there from the beginning
		stay  bool // the others remain when it comes
	}{
		{"it is named, and somebody else speaks first", "s3: no such thing", true, true},
		{"it is not named, and somebody else speaks first", "no such thing", true, true},
		{"who names it comes later", "s3: no such thing", false, false},
		{"who names it comes later, and nobody goes", "s3: no such thing", false, true},
		{"who does not name it comes later", "no such thing", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(20) {
				synctest.Test(t, func(t *testing.T) {
					first, knows := fine("envoy 1"), refusing("envoy 1", badEdit, func(version) string { return c.words })
					second := fine("envoy 1")
					players := []*player{first, second}
					if c.among {
						players = players[:1]
						players = append(players, knows)
					}
					m := edited(t, players...)
					defer m.room.Close()
					rnd := rand.New(rand.NewPCG(seed, 3))
					first.refuses = stranger("envoy 1", rnd, 100).refuses
					bad := [][]version{{{s3, "2 "}}}
					if c.stay && !c.among { // else they accept nothing at all, and there is nobody to ask
						first.refuses = refusing("", bad, func(version) string { return fmt.Sprintf("I do not like s%d", rnd.IntN(3)) }).refuses
					}
					second.refuses = first.refuses
					m.put(doc("Service", "s3", "2 "), doc("Service", "s5", "2"))
					knows.refuses = refusing("envoy 1", bad, func(version) string { return c.words }).refuses
					m.build()
					m.run(time.Second)
					if !c.among {
						m.join(knows)
						if !c.stay {
							m.leave(1)
							m.leave(2)
						}
					}
					m.run(5 * time.Minute)
					v := m.room.verdicts[s3]
					if v == nil || v.Text != c.words || v.Doubtful || !strings.Contains(v.why(), c.words) {
						t.Fatalf("seed %d: got %+v, want s3 held back in the words %q", seed, v, c.words)
					}
				})
			}
		})
	}
}

// TestDoubtful: words that name something else are told as that, until there are better ones, or the same are said again.
func TestDoubtful(t *testing.T) {
	web := roster{
		own: map[definition.Ref][]string{
			{Kind: "Route", Name: "r1"}: {"a.test", "web/http/a.test"}, {Kind: "Route", Name: "r2"}: {"b.test", "web/http/b.test"},
			{Kind: "Service", Name: "s1"}: {"s1"}, {Kind: "Service", Name: "s2"}: {"s2"}, {Kind: "Gateway", Name: "web"}: {"web/http", "127.0.0.1:80"},
		},
		around: map[definition.Ref][]string{{Kind: "Route", Name: "r1"}: {"web", "web/http", "s1"}},
	}
	say := func(text string, sure bool) saying { return saying{refusal: refusal{Text: text}, sure: sure} }
	for _, c := range []struct {
		name     string
		alone    bool
		said     []saying
		want     string
		doubtful bool
	}{
		{"named", false, []saying{say("b.test is bad", true), say("virtual host 'a.test' is bad", false)}, "virtual host 'a.test' is bad", false},
		{"by its document's name", false, []saying{say("Route/r1#0: no", false)}, "Route/r1#0: no", false},
		{"not named, and not alone", false, []saying{say("bad", true)}, "bad", true},
		{"not named, but alone", true, []saying{say("bad", true)}, "bad", false},
		{"alone, by who refused what was before", true, []saying{say("bad", false)}, "bad", true},
		{"what it is in is named", true, []saying{say("route web/http: unknown cluster s1", true)}, "route web/http: unknown cluster s1", false},
		{"others are named", true, []saying{say("s2 is bad", true)}, "s2 is bad", true},
		{"others are named first", true, []saying{say("s2 is bad", true), say("bad", true)}, "bad", false},
		{"others are named, or nobody is", false, []saying{say("s2 is bad", true), say("bad", false)}, "bad", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := about(c.said, definition.Ref{Kind: "Route", Name: "r1"}, web, c.alone); got.Text != c.want || got.Doubtful != c.doubtful {
				t.Errorf("got %+v, want %q, doubtful: %v", got, c.want, c.doubtful)
			}
		})
	}
}

// TestOneOfMany: a proxy that refuses everything decides nothing for the others, whatever it says that it is, how often it
// connects, and however early it speaks.
func TestOneOfMany(t *testing.T) {
	for _, class := range []string{"envoy 1", "its own"} {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, nil, nil)
			defer m.room.Close()
			broken := stranger(class, rand.New(rand.NewPCG(1, 1)), 100)
			for range 3 {
				m.id = "broken"
				m.join(broken)
			}
			m.id = ""
			for range 30 {
				m.join(fine("envoy 1"))
			}
			m.put(doc("Service", "s1", "1"), doc("Route", "r1", "1"))
			m.build()
			for i := range 20 {
				m.run(10 * time.Second)
				m.put(doc("Service", "s1", fmt.Sprint(i+2)))
				m.build()
			}
			m.run(time.Hour)
			if m.room.Count() > 0 || m.room.pushes > 0 || m.version("s1") != "21" {
				t.Errorf("class %s: got %v held back, %d pushes, s1 %s, want nothing done", class, m.held(), m.room.pushes, m.version("s1"))
			}
			if broken.refused < 20 {
				t.Errorf("class %s: got %d refusals: the test shows nothing", class, broken.refused)
			}
		})
	}
}

// TestLeft: what a proxy refused while it was alone is served to those that come, though it stays.
func TestLeft(t *testing.T) {
	for _, class := range []string{"envoy 1", "its own"} {
		synctest.Test(t, func(t *testing.T) {
			m := edited(t, &player{class: class, refuses: refusesAll})
			defer m.room.Close()
			m.run(time.Hour)
			if m.room.Count() == 0 {
				t.Fatal("got nothing held back: the test shows nothing")
			}
			for range 30 {
				m.join(fine("envoy 1"))
			}
			m.run(time.Hour)
			if m.room.Count() > 0 || m.version("s3") != "2" {
				t.Errorf("class %s: got %v held back, s3 %s, want all served", class, m.held(), m.version("s3"))
			}
		})
	}
}

// most is the most publications that were asked for within some time.
func (m *model) most(within time.Duration) int {
	most := 0
	for i, from := range m.asked {
		for j, at := range m.asked[i:] {
			if at.Sub(from) < within {
				most = max(most, j+1)
			}
		}
	}
	return most
}

// TestPace: whatever proxies do, and however much is edited, publications are few.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name    string
		percent []int // what share proxies refuse
		edits   bool
		most    int // in a quarter of an hour
	}{
		{"everything is refused", []int{100}, false, 1000},
		{"everything is refused, and all is edited all the time", []int{100}, true, 1000},
		{"a mind that changes", []int{50}, true, 1000},
		{"minds that change", []int{30, 30, 30}, true, 1000},
		{"one of three", []int{100, 0, 0}, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(2, 2))
				m := newModel(t, nil, nil)
				defer m.room.Close()
				var strangers []*player
				for _, percent := range c.percent {
					strangers = append(strangers, stranger("envoy 1", rnd, percent))
					m.join(strangers[len(strangers)-1])
				}
				for i := range 100 {
					m.put(doc("Service", fmt.Sprint("s", i), "1"))
				}
				m.build()
				for i := range 900 {
					m.run(time.Second)
					if c.edits {
						for range 20 {
							m.put(doc("Service", fmt.Sprint("s", rnd.IntN(100)), fmt.Sprint("e", i)))
						}
						m.build()
					}
				}
				t.Logf("%d publications, %d in a minute, %d in a second", m.most(time.Hour), m.most(time.Minute), m.most(time.Second))
				if m.most(time.Second) > 20 || m.most(time.Minute) > burst+60 || m.most(time.Hour) > c.most {
					t.Error("want 20 in a second, 160 in a minute at most")
				}
				// Once they are sound, everything is served.
				for _, p := range strangers {
					p.refuses = fine("").refuses
				}
				m.leave(1)
				m.join(fine("envoy 1"))
				m.run(2 * time.Hour)
				if m.room.Count() > 0 {
					t.Errorf("got %d held back in the end, want nothing", m.room.Count())
				}
			})
		})
	}
}

// TestTogether: where edits bring more in doubt than each question takes away, the search ends all the same: what is in doubt
// then is held back, and said so, and found to be good one by one.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, nil, nil)
		defer m.room.Close()
		p := &player{class: "envoy 1", refuses: refusesAll}
		m.join(p)
		edit := 0
		build := func() {
			edit++
			for i := range 64 {
				if (i+edit)%2 == 0 {
					m.put(doc("Service", fmt.Sprint("s", i), fmt.Sprint(edit)))
				}
			}
			m.build()
		}
		build()
		for i := 0; i < 100 && m.room.Count() == 0; i++ {
			<-m.room.Changed()
			m.asked = append(m.asked, time.Now())
			if m.room.Count() == 0 {
				build()
			} else {
				m.build()
			}
		}
		held := m.held()
		if len(held) < 2 || len(m.asked) > mostAsked(64)+1 {
			t.Fatalf("got %d held back after %d publications, want several after %d at most", len(held), len(m.asked), mostAsked(64)+1)
		}
		holds, _ := m.room.Holds()
		for ref, h := range holds {
			if want := fmt.Sprintf("refuses one of %d documents that could not be told apart", len(held)); !strings.Contains(h.Why, want) {
				t.Errorf("%s: got %q, want %q", ref, h.Why, want)
			}
		}
		name, hash, _ := strings.Cut(strings.TrimPrefix(held[1], "Service/"), "@")
		p.refuses = refusing("", [][]version{{{definition.Ref{Kind: "Service", Name: name}, hash}}}, says).refuses
		m.run(time.Hour)
		if got := m.held(); len(got) != 1 || got[0] != held[1] {
			t.Errorf("got %v held back in the end, want %s alone", got, held[1])
		}
	})
}

// TestNewcomer: what those have accepted that were there is not withdrawn because of one that comes, be it at the same moment.
func TestNewcomer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := edited(t, fine("sluice-proxy"))
		defer m.room.Close()
		m.join(refusing("envoy 1", badEdit, says))
		m.run(time.Hour)
		if m.version("s3") != "2" || m.room.Count() > 0 || m.room.pushes > 0 {
			t.Errorf("got s3 %s, %v held back, %d pushes, want nothing done", m.version("s3"), m.held(), m.room.pushes)
		}
	})
}

// TestHeardTogether: what looked bad because of proxies that are gone is back soon, however much it is, and what is bad stays held.
func TestHeardTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, nil, nil)
		defer m.room.Close()
		m.join(&player{class: "envoy 1", refuses: refusesAll})
		for i := range 60 {
			m.put(doc("Service", fmt.Sprint("s", i), "1"))
		}
		m.build()
		m.run(time.Hour)
		if n := m.room.Count(); n != 60 {
			t.Fatalf("got %d held back, want all: the test shows nothing", n)
		}
		m.leave(1)
		m.join(refusing("envoy 1", [][]version{{{definition.Ref{Kind: "Service", Name: "s33"}, "1"}}}, says))
		asked := len(m.asked)
		m.run(30 * time.Second)
		if got := m.held(); len(got) != 1 || got[0] != "Service/s33@1" || len(m.asked)-asked > 50 {
			t.Errorf("got %d held back after %d publications, want the bad one after 50 at most: %v", len(got), len(m.asked)-asked, got)
		}
	})
}

// TestNewcomerAhead: nor is it, if the newcomer speaks first.
func TestNewcomerAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := fine("sluice-proxy")
		m := newModel(t, nil, nil)
		defer m.room.Close()
		m.put(doc("Service", "s3", "1"))
		id := m.join(p)
		m.build()
		m.run(20 * time.Second)
		p.mute = true
		m.put(doc("Service", "s3", "2"))
		m.build()
		m.join(refusing("envoy 1", badEdit, says))
		m.run(100 * time.Millisecond)
		p.mute = false
		m.answer(id)
		m.run(time.Hour)
		if m.version("s3") != "2" || m.room.Count() > 0 || m.room.pushes > 0 {
			t.Errorf("got s3 %s, %v held back, %d pushes, want nothing done", m.version("s3"), m.held(), m.room.pushes)
		}
	})
}

// TestLastGateway: where all of a fleet's Gateways are held back there is no fleet any more. Its proxies are asked all the same,
// in the next process too: what only strangers refused is served when they are gone.
func TestLastGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, nil, nil)
		m.vanishes = true
		m.put(doc("Gateway", "web", "1"), doc("Gateway", "more", "1"), doc("Service", "s1", "1"), doc("Route", "r1", "1"))
		stranger := &player{class: "envoy 1", refuses: func(_ map[definition.Ref]*definition.Document, url string) string {
			if m.last[url].Resources > 0 {
				return "I do not like it"
			}
			return ""
		}}
		m.join(stranger)
		m.build()
		m.run(time.Minute)
		if m.served[definition.Ref{Kind: "Gateway", Name: "web"}] != nil || m.served[definition.Ref{Kind: "Gateway", Name: "more"}] != nil {
			t.Fatalf("got %v held back, want both Gateways: the test shows nothing", m.held())
		}
		kept, served := m.room.Keep(), m.served
		for restarted, m := range map[bool]*model{false: m, true: newModel(t, served, kept)} {
			defer m.room.Close()
			if restarted {
				m.vanishes = true
				m.put(doc("Gateway", "web", "1"), doc("Gateway", "more", "1"), doc("Service", "s1", "1"), doc("Route", "r1", "1"))
				m.build()
			} else {
				m.leave(1)
			}
			m.id = "another"
			m.join(fine("envoy 1"))
			m.run(time.Hour)
			if m.room.Count() > 0 || m.served[definition.Ref{Kind: "Gateway", Name: "web"}] == nil {
				t.Errorf("restarted: %v: got %v held back, want all served", restarted, m.held())
			}
		}
	})
}
