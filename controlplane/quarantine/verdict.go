package quarantine

import (
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// judgement is what a fleet, or a class of its proxies, says of a publication.
type judgement int

const (
	nobody  judgement = iota // no proxy is there
	silent                   // none says anything, and none is waited for any more
	pending                  // what is said so far may still turn
	accepted
	refused
)

// smallest is the part of a fleet, one in so many, that must refuse something before it is held back from all of them: else a
// single proxy with a version, or a trouble, of its own would decide for a hundred.
const smallest = 10

// judge works out what a fleet says of what is published. A class of proxies refuses if more of it refuse than accept: else it is
// the trouble of those proxies, such as a port that is busy there, or a mind that is not sound. whole waits for everybody's
// word, though enough is said. wake is when time alone may change the answer.
func (r *Room) judge(name string, now time.Time, whole bool) (j judgement, wake time.Time) {
	classes, b := r.ballot(name, now, time.Time{})
	b.whole = whole
	return b.judge(classes)
}

// ran is what those say of what is published that were there when it was.
func (r *Room) ran(name string, now time.Time) (judgement, time.Time) {
	classes, b := r.ballot(name, now, r.at)
	return b.judge(classes)
}

func (b *ballot) judge(classes map[string][]voice) (j judgement, wake time.Time) {
	undecided := false
	for _, voices := range classes {
		cj, at := b.count(voices)
		wake = earlier(wake, at)
		undecided = undecided || cj == pending
		j = max(j, cj)
	}
	if undecided && (j != refused || b.whole) {
		j = pending
	}
	return j, wake
}

// ballot begins one, among all, or those that were there at some time.
func (r *Room) ballot(name string, now, there time.Time) (map[string][]voice, *ballot) {
	classes, total := r.voices(name, there), 0
	for _, voices := range classes {
		total += len(voices)
	}
	return classes, &ballot{types: r.published.Fleets[name].Types, now: now, least: max(1, total/smallest), deadline: r.deadline}
}

// voice is one proxy, and what it says: the type, if it refuses.
type voice struct {
	*stream
	says judgement
	url  string
}

// voices are the proxies of a fleet, by class. Who has several streams, since the last is not known to be over yet or to weigh
// more, has one voice: the best of them.
func (r *Room) voices(name string, there time.Time) map[string][]voice {
	types := r.published.Fleets[name].Types
	rank := map[judgement]int{refused: 1, accepted: 2}
	best := map[string]voice{}
	for _, s := range r.streams {
		if s.fleet != name || !there.IsZero() && !s.since.Before(there) {
			continue
		}
		v := voice{stream: s}
		v.says, v.url = s.judge(types)
		o, other := best[s.id]
		if !other || rank[v.says] > rank[o.says] || rank[v.says] == rank[o.says] && s.since.After(o.since) {
			best[s.id] = v
		}
	}
	out := map[string][]voice{}
	for _, v := range best {
		out[v.class] = append(out[v.class], v)
	}
	return out
}

// ballot counts the words of a class.
type ballot struct {
	types    map[string]Type
	now      time.Time
	whole    bool
	least    int // as many must refuse at least
	deadline func(s *stream) (refusing, accepting time.Time)
}

// count is what the voices of one class come to. Those that say nothing yet are waited for, unless they cannot turn it.
func (b *ballot) count(voices []voice) (j judgement, wake time.Time) {
	undecided := false
	for _, t := range resource.PushOrder {
		version := b.types[t.URL].Version
		var against, favour, open int
		var first time.Time
		for _, v := range voices {
			w := v.types[t.URL]
			switch {
			case v.says == refused && v.url == t.URL:
				against++
			case w.version == version && !w.refused:
				favour++
			case v.says == pending:
				if until, _ := b.deadline(v.stream); b.now.Before(until) {
					open++
					first = earlier(first, until)
				}
			}
		}
		switch {
		case against < b.least:
		case open > 0 && (b.whole || against <= favour+open && favour < against+open):
			undecided, wake = true, earlier(wake, first)
		case against > favour:
			return refused, wake
		}
	}
	var fine, open int
	for _, v := range voices {
		switch v.says {
		case accepted:
			fine++
		case pending:
			if _, until := b.deadline(v.stream); b.now.Before(until) {
				open++
				wake = earlier(wake, until)
			}
		}
	}
	switch {
	case undecided, open > 0 && (b.whole || fine < open):
		return pending, wake
	case fine > 0:
		return accepted, wake
	}
	return silent, wake
}

// deadline is until when a proxy is waited for, before what others refuse counts as refused and what they accept as accepted:
// ever shorter if it said nothing the last times. While nothing is searched there is time to accept.
func (r *Room) deadline(s *stream) (refusing, accepting time.Time) {
	wait := patience >> min(s.missed, maxMissed)
	if r.search == nil {
		from := later(r.at, s.since)
		return from.Add(wait), from.Add(absent)
	}
	if r.at.Sub(r.search.began) > absent {
		wait = patience >> maxMissed
	}
	return r.at.Add(wait), r.at.Add(wait)
}

// maxMissed bounds how much shorter.
const maxMissed = 4

// miss notes who was waited for in vain.
func (r *Room) miss(name string, now time.Time) {
	types := r.published.Fleets[name].Types
	for _, s := range r.streams {
		if s.fleet != name {
			continue
		}
		if until, _ := r.deadline(s); now.Before(until) {
			continue
		}
		if says, _ := s.judge(types); says == pending {
			s.missed++
		}
	}
}

// judge is what one proxy says; url is the type that it refuses.
func (s *stream) judge(types map[string]Type) (j judgement, url string) {
	j = accepted
	for _, known := range resource.PushOrder {
		t, w := types[known.URL], s.types[known.URL]
		needed := t.Resources > 0 || known.URL == resource.ClusterType || known.URL == resource.ListenerType
		switch {
		case w.version == "" && !needed, !w.refused && w.version == t.Version && w.version != "":
		case w.refused && w.version == t.Version:
			return refused, known.URL
		default:
			j = pending
		}
	}
	return j, ""
}
