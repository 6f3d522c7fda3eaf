package quarantine

import (
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// search is the way from a refused publication to the document that it is refused for. The invariant: with base the fleet
// accepts, or was not heard of; with base and suspects it refuses.
type search struct {
	fleet   string
	base    []*definition.Document
	refusal refusal
	// suspects are asked in order: live are those of them that are published now, the rest of them is held back.
	suspects []change
	live     map[definition.Ref]bool
	// others are held back until the end: they may be bad, and are not needed to know who is.
	others map[definition.Ref]change
	// named counts the questions that went by what the proxies said; plain: they are done with, and order is that of kinds.
	named int
	plain bool
	// hearing, if not nil, is the one that is asked about, and there is no other suspect.
	hearing *conviction
	began   time.Time
	asked   int
}

// maxNamed is how many questions go by a proxy's words, which may mislead, before it is halves alone.
const maxNamed = 4

// change is a document that is another than the fleet has accepted. Nil is none.
type change struct {
	from, to *definition.Document
}

func (c change) ref() definition.Ref {
	if c.to != nil {
		return c.to.Ref
	}
	return c.from.Ref
}

func (c change) version() version {
	if c.to != nil {
		return version{c.to.Ref, c.to.Hash}
	}
	return version{c.from.Ref, ""}
}

func (s *search) holds(out map[definition.Ref]store.Held) {
	hold := func(c change) {
		if _, convicted := out[c.ref()]; !convicted {
			out[c.ref()] = store.Held{Hash: c.version().Hash, Instead: c.from}
		}
	}
	for _, c := range s.suspects {
		if !s.live[c.ref()] {
			hold(c)
		}
	}
	for _, c := range s.others {
		hold(c)
	}
}

// together is how long proxies' words are gathered before all are judged: a thousand of them answer one edit.
const together = 20 * time.Millisecond

// soon has step called. Callers hold mu.
func (r *Room) soon() {
	if !r.coming && !r.closed {
		r.coming = true
		r.timer.Reset(together)
	}
}

// step does what is to be done now. Callers hold mu.
func (r *Room) step() {
	if r.coming {
		r.coming = false
		r.timer.Reset(time.Hour)
	}
	if r.closed || r.published == nil || r.published.Seq != r.seq {
		return // what was asked for is not published yet
	}
	now := time.Now()
	var wake time.Time
	if r.search != nil {
		wake = r.advance(now)
	} else {
		wake = r.look(now)
	}
	if wake.IsZero() || r.published.Seq != r.seq {
		wake = now.Add(time.Hour)
	}
	r.timer.Reset(max(wake.Sub(now), time.Millisecond))
}

// look takes notes of what is accepted, and begins a search where something is refused, or a hearing where all is well.
func (r *Room) look(now time.Time) (wake time.Time) {
	calm := map[string]bool{}
	for _, name := range sortedNames(r.fleets) {
		f := r.fleets[name]
		if r.published.Fleets[name].Types == nil {
			continue
		}
		j, why, at := r.judge(name, now)
		wake = earlier(wake, at)
		switch j {
		case accepted:
			r.prove(f, now)
			f.told, f.fails, calm[name] = "", 0, true
		case refused:
			if now.Before(f.quiet) {
				wake = earlier(wake, f.quiet)
				continue
			}
			if r.begin(name, f, why, now) {
				return time.Time{}
			}
		}
	}
	return earlier(wake, r.hear(calm, now))
}

// prove notes that a fleet has accepted what is published.
func (r *Room) prove(f *fleet, now time.Time) {
	documents := r.published.Documents
	if sameDocuments(f.proven, documents) {
		return
	}
	if now.Sub(f.at) > absent {
		f.before = f.proven
	}
	f.proven, f.at = documents, now
	signal(r.news)
}

func sameDocuments(a, b []*definition.Document) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// begin starts a search, unless there is nothing that could be held back.
func (r *Room) begin(name string, f *fleet, why refusal, now time.Time) bool {
	doubts := r.doubts(name, f.proven, now)
	if len(doubts) == 0 {
		if key := why.Class + why.Type + why.version; f.told != key {
			f.told = key
			r.log.Warn("proxies refuse what others have, or what they had themselves: no document can be held back for that",
				"fleet", name, "proxies", why.Proxies, "class", why.Class, "type", why.Type, "error", why.Text)
		}
		return false
	}
	r.search = &search{fleet: name, base: f.proven, refusal: why, others: map[definition.Ref]change{}, began: now}
	r.log.Info("proxies refused: looking for the document", "fleet", name, "proxies", why.Proxies, "type", why.Type, "doubted", len(doubts), "error", why.Text)
	r.suspect(doubts, now)
	return true
}

// suspect goes on with these: all that is published beyond what the fleet has accepted.
func (r *Room) suspect(doubts []change, now time.Time) {
	s := r.search
	for _, c := range s.suspects {
		if !slices.ContainsFunc(doubts, func(d change) bool { return d.ref() == c.ref() }) {
			s.others[c.ref()] = c
		}
	}
	s.suspects = doubts
	r.ask(now)
}

// ask publishes the first of the suspects: all but those that the proxies seem to mean, or half of them. The last one
// needs no question.
func (r *Room) ask(now time.Time) {
	s := r.search
	switch len(s.suspects) {
	case 0:
		r.end(now, false)
		return
	case 1:
		r.convict(s.suspects[0], now)
		return
	}
	border := len(s.suspects) / 2
	if !s.plain {
		if at := r.order(s); at > 0 && at < len(s.suspects) && s.named < maxNamed {
			border = at
			s.named++
		}
	}
	s.live = map[definition.Ref]bool{}
	for _, c := range s.suspects[:border] {
		s.live[c.ref()] = true
	}
	s.asked++
	r.pushes++
	r.ring()
}

// advance looks at the answer to what was asked.
func (r *Room) advance(now time.Time) (wake time.Time) {
	s := r.search
	f, known := r.fleets[s.fleet]
	if !known || r.published.Fleets[s.fleet].Types == nil {
		r.end(now, false)
		return
	}
	j, why, wake := r.judge(s.fleet, now)
	late := r.at.Add(patience)
	if j == nobody { // they may come back, and take up where they were
		if late = r.at.Add(absent); now.Before(late) {
			return earlier(wake, late)
		}
		r.end(now, false)
		return
	}
	if j == pending && now.Before(late) {
		return earlier(wake, late)
	}
	if j == accepted {
		r.prove(f, now)
	}
	if s.hearing != nil {
		r.sentence(j, why, now)
		return
	}
	if j == refused {
		s.refusal = why
		r.suspect(r.doubts(s.fleet, s.base, now), now)
		return
	}
	s.base = r.published.Documents
	rest, unserved := s.split(r.published.Documents)
	switch {
	case len(unserved) < len(s.live): // some are well
		s.suspects = append(rest, unserved...)
	case !s.plain: // nobody of whom it was asked is served: what they refer to comes first, then
		s.plain = true
		s.suspects = append(rest, unserved...)
		byKind(s.suspects)
	default:
		s.suspects = rest
	}
	r.ask(now)
	return
}

// split tells the suspects that are still held back from those that are not served though they are not.
func (s *search) split(documents []*definition.Document) (rest, unserved []change) {
	served := byRef(documents)
	for _, c := range s.suspects {
		d := served[c.ref()]
		switch {
		case !s.live[c.ref()]:
			rest = append(rest, c)
		case (d == nil) != (c.to == nil) || d != nil && d.Hash != c.to.Hash:
			unserved = append(unserved, c)
		}
	}
	return rest, unserved
}

// end publishes everything but what is convicted. A search that came to nothing is not begun again soon.
func (r *Room) end(now time.Time, found bool) {
	if f := r.fleets[r.search.fleet]; f != nil && !found {
		f.quiet = now.Add(min(absent<<min(f.fails, 6), 10*time.Minute))
		f.fails++
	}
	r.search = nil
	r.pushes++
	r.ring()
}

func (r *Room) convict(c change, now time.Time) {
	s := r.search
	v := &conviction{version: c.version(), instead: c.from, refusal: s.refusal, since: now, next: now}
	if n := r.acquitted[v.version]; n > 0 { // it was accepted when it was heard: then it is not soon heard again
		v.next = now.Add(min(30*time.Second<<min(n-1, 5), 10*time.Minute))
	}
	r.verdicts[v.Ref] = v
	r.log.Warn("a document is held back: proxies refuse it", "document", v.Ref.String(), "fleet", s.fleet, "proxies", v.Proxies,
		"type", v.Type, "error", v.Text, "pushes", s.asked, "took", now.Sub(s.began).Round(time.Millisecond))
	r.end(now, true)
}
