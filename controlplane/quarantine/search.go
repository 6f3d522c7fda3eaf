package quarantine

import (
	"math/bits"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
	"github.com/sluice-proxy/sluice/controlplane/store"
)

// search is the way from a refused publication to the document that it is refused for. The invariant: with base the fleet
// accepts, or was not heard of; with base and suspects it refuses.
type search struct {
	fleet string
	base  []*definition.Document
	// said is how the last publication was refused, and known whom its words may mean.
	said  []saying
	known roster
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
	// asked is how many publications it took, of most.
	asked, most int
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

// step does what is to be done now. Callers hold mu.
func (r *Room) step() {
	if r.closed || r.published == nil {
		return
	}
	r.stirred = false
	now := time.Now()
	if r.published.Seq != r.seq { // what was asked for is not published yet
		r.timer.Reset(max(r.call(now).Sub(now), time.Millisecond))
		return
	}
	var wake time.Time
	if r.search != nil {
		wake = r.advance(now)
	} else {
		wake = r.look(now)
	}
	if r.published.Seq != r.seq {
		wake = r.call(now)
	}
	if wake.IsZero() {
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
		j, at := r.judge(name, now, false)
		wake = earlier(wake, at)
		switch j {
		case accepted:
			r.prove(f, now)
			f.told, f.fails, calm[name] = "", 0, true
		case refused:
			// What runs is not withdrawn because of a newcomer: so those that were there are heard first.
			switch ran, at := r.ran(name, now); ran {
			case accepted:
				r.prove(f, now)
			case pending:
				wake = earlier(wake, at)
				continue
			}
			at, begun := r.begin(name, f, now)
			if begun {
				return time.Time{}
			}
			wake = earlier(wake, at)
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

// begin starts a search, unless there is nothing that could be held back, or not yet: then wake is when to look again.
func (r *Room) begin(name string, f *fleet, now time.Time) (wake time.Time, begun bool) {
	if f.futile == r.published {
		return wake, false
	}
	if now.Before(f.quiet) {
		return f.quiet, false
	}
	doubts, said := r.doubts(name, f.proven, now), r.sayings(name, now)
	if len(doubts) == 0 {
		f.futile = r.published
		if key := said[0].Class + said[0].Type + said[0].Text; f.told != key {
			f.told = key
			r.log.Warn("proxies refuse what others have, or what they had themselves: no document can be held back for that",
				"fleet", name, "proxies", said[0].Proxies, "class", said[0].Class, "type", said[0].Type, "error", said[0].Text)
		}
		return wake, false
	}
	most := mostAsked(len(doubts))
	if at := f.spend(most, now); at.After(now) {
		return at, false
	}
	r.miss(name, now)
	r.search = &search{fleet: name, base: f.proven, others: map[definition.Ref]change{}, began: now, most: most}
	r.log.Info("proxies refused: looking for the document", "fleet", name, "proxies", said[0].Proxies, "type", said[0].Type, "doubted", len(doubts), "error", said[0].Text)
	r.refuses(doubts, said)
	r.ask(now)
	return wake, true
}

// mostAsked is how many publications it takes at most to find one of n documents: halves, some that go by words, and as
// many again for those whose answers do not fit together.
func mostAsked(n int) int { return 2*bits.Len(uint(n)) + maxNamed + 2 }

// refuses notes how what is published is refused, and goes on with what it has beyond what the fleet has accepted.
func (r *Room) refuses(doubts []change, said []saying) {
	s := r.search
	s.said, s.known = said, rosterOf(r.published.Fleets[s.fleet].Made)
	for _, c := range s.suspects {
		if !slices.ContainsFunc(doubts, func(d change) bool { return d.ref() == c.ref() }) {
			s.others[c.ref()] = c
		}
	}
	s.suspects = doubts
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
		r.convict(s.suspects, now)
		return
	}
	if s.asked == s.most { // their answers do not fit together, or there is more each time
		r.convict(s.suspects, now)
		return
	}
	border := len(s.suspects) / 2
	if !s.plain {
		if at := s.order(); at > 0 && at < len(s.suspects) && s.named < maxNamed {
			border = at
			s.named++
		}
	}
	s.live = map[definition.Ref]bool{}
	for _, c := range s.suspects[:border] {
		s.live[c.ref()] = true
	}
	s.asked++
	r.push()
}

// advance looks at the answer to what was asked.
func (r *Room) advance(now time.Time) (wake time.Time) {
	s := r.search
	f, known := r.fleets[s.fleet]
	if !known || r.published.Fleets[s.fleet].Types == nil {
		r.end(now, false)
		return
	}
	j, wake := r.judge(s.fleet, now, s.hearing != nil)
	if j == nobody { // they may come back, and take up where they were
		if late := r.at.Add(absent); now.Before(late) {
			return earlier(wake, late)
		}
		r.end(now, false)
		return
	}
	if j == pending {
		return wake
	}
	r.miss(s.fleet, now)
	if j == accepted {
		r.prove(f, now)
	}
	if s.hearing != nil {
		r.sentence(j, now)
		return
	}
	if j == refused {
		r.refuses(r.doubts(s.fleet, s.base, now), r.sayings(s.fleet, now))
		r.ask(now)
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
	f := r.fleets[r.search.fleet]
	if f != nil {
		f.budget += max(0, r.search.most-r.search.asked-1)
	}
	if f != nil && !found {
		f.quiet = now.Add(min(absent<<min(f.fails, 6), 10*time.Minute))
		f.fails++
	}
	r.search = nil
	r.push()
}

// convict holds back the one that is left, or all if they could not be told apart.
func (r *Room) convict(changes []change, now time.Time) {
	s := r.search
	for _, c := range changes {
		v := &conviction{
			version: c.version(), instead: c.from, refusal: about(s.said, c.ref(), s.known, false), since: now, next: now, among: len(changes), told: len(changes) > 1,
		}
		if n := r.acquitted[v.version]; n > 0 { // it was accepted when it was heard: then it is not soon heard again
			v.next = now.Add(min(30*time.Second<<min(n-1, 5), 10*time.Minute))
		}
		r.verdicts[v.Ref] = v
		if len(changes) == 1 {
			r.log.Warn("a document is held back: proxies refuse it", "document", v.Ref.String(), "fleet", s.fleet, "proxies", v.Proxies,
				"type", v.Type, "error", v.Text, "pushes", s.asked, "took", now.Sub(s.began).Round(time.Millisecond))
		}
	}
	if len(changes) > 1 {
		r.log.Warn("documents are held back together, and tried one by one: proxies refuse one of them, and it could not be found which",
			"documents", len(changes), "fleet", s.fleet, "proxies", s.said[0].Proxies, "type", s.said[0].Type, "error", s.said[0].Text,
			"pushes", s.asked, "took", now.Sub(s.began).Round(time.Millisecond))
	}
	r.end(now, true)
}
