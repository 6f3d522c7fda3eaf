package quarantine

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

const (
	// settled is how long the proxies of a fleet are the same before a document is tried again because of them.
	settled = 5 * time.Second
	// between is how far two hearings of one document are apart at least; it doubles each time, to mostBetween.
	between, mostBetween = 10 * time.Second, 10 * time.Minute
	// mostDoubtful is how often a document is heard for better words at most.
	mostDoubtful = 4
)

// hear publishes documents that are held back once more: one alone, to be sure that it is the one; and, when those proxies are
// gone that refused them, all at once, which is nearly always the end of it, or by halves.
func (r *Room) hear(calm map[string]bool, now time.Time) (wake time.Time) {
	wake, told := r.tell(now)
	if told {
		return wake
	}
	var heard []*conviction
	for _, c := range r.waiting() {
		if !calm[c.Fleet] || len(heard) > 0 && (c.Fleet != heard[0].Fleet || c.alone()) { // of the fleets that have accepted all that is there
			continue
		}
		why, at := r.reason(c, now)
		if why == "" {
			wake = earlier(wake, at)
			continue
		}
		f := r.fleets[c.Fleet]
		if len(heard) == 0 {
			if at := f.spend(2, now); at.After(now) {
				wake = earlier(wake, at)
				continue
			}
		}
		r.log.Info("a document that is held back is tried again", "document", c.Ref.String(), "because", why)
		c.hearings++
		heard = append(heard, c)
		if c.alone() || len(heard) == f.crowd {
			break
		}
	}
	if len(heard) == 0 {
		return wake
	}
	r.search = &search{fleet: heard[0].Fleet, hearing: heard, began: now, asked: 2, most: 2}
	r.push()
	return time.Time{}
}

// alone: it must be sure first that it is the one.
func (c *conviction) alone() bool { return !c.heard && c.among <= 1 }

// tell makes known what is held back and was not heard as soon as it should have been.
func (r *Room) tell(now time.Time) (wake time.Time, told bool) {
	for _, c := range r.verdicts {
		if c.told {
			continue
		}
		late := c.since.Add(patience)
		if f := r.fleets[c.Fleet]; f != nil && !told && !now.Before(late) {
			late = f.spend(1, now)
		}
		if now.Before(late) {
			wake = earlier(wake, late)
		} else {
			c.told, told = true, true
		}
	}
	if told {
		r.push()
	}
	return wake, told
}

// reason says why a document is to be heard now; "" is not, and then at is when to look again.
func (r *Room) reason(c *conviction, now time.Time) (why string, at time.Time) {
	var same, others int
	witness, newest := false, time.Time{}
	for _, s := range r.streams {
		if s.fleet != c.Fleet {
			continue
		}
		if s.since.After(newest) {
			newest = s.since
		}
		if s.class != c.Class {
			others++
			continue
		}
		same++
		witness = witness || slices.Contains(c.Proxies, s.id)
	}
	wait := settled
	switch {
	case !c.heard:
		why, wait = "to be sure that it is the one", 0
		if same == 0 { // nobody is there who could say
			c.confirm(now)
			r.push()
			return "", time.Time{}
		}
	case same == 0:
		why, wait = "no proxy of the kind that refused it is left", 3*settled
	case !witness:
		why = "no proxy that refused it is left"
	case same >= 2*c.Witnesses:
		why = "there are more proxies of the kind that refused it"
	case c.Witnesses < (same+others)/smallest:
		why = "those that refused it are few by now"
	case c.Doubtful && c.hearings < mostDoubtful:
		why, wait = "what was said may be about something else", 0
	default:
		return "", time.Time{}
	}
	at = newest.Add(wait)
	if wait == 0 {
		at = time.Time{}
	}
	if c.next.After(at) {
		at = c.next
	}
	if now.Before(at) {
		return "", at
	}
	return why, time.Time{}
}

// sentence ends a hearing.
func (r *Room) sentence(j judgement, now time.Time) {
	f, heard := r.fleets[r.search.fleet], r.search.hearing
	served := byRef(r.published.Documents)
	tried := func(c *conviction) bool {
		d := served[c.Ref]
		return (d == nil) == (c.Hash == "") && (d == nil || d.Hash == c.Hash)
	}
	switch {
	case j == refused && len(heard) > 1:
		f.crowd = len(heard) / 2
	case j == refused:
		c := heard[0]
		words := about(r.sayings(c.Fleet, now), c.Ref, rosterOf(r.published.Fleets[c.Fleet].Made), true)
		words.Doubtful = words.Doubtful && words.Text != c.Text // twice the same is what they have to say of it
		if c.Doubtful || !words.Doubtful {
			c.refusal = words
		}
		c.among = 1
		c.confirm(now)
	default:
		for _, c := range heard {
			if j == accepted && tried(c) {
				r.acquit(c)
			} else { // nobody could say
				c.confirm(now)
			}
		}
		f.crowd *= 2
	}
	r.end(now, true)
}

func (r *Room) acquit(c *conviction) {
	delete(r.verdicts, c.Ref)
	if len(r.acquitted) >= maxAcquitted {
		clear(r.acquitted)
	}
	r.acquitted[c.version]++
	r.log.Info("a document that was held back is accepted, and served", "document", c.Ref.String())
}

// maxAcquitted bounds what is remembered.
const maxAcquitted = 10_000

func (c *conviction) confirm(now time.Time) {
	c.heard, c.told = true, true
	c.next = now.Add(min(between<<min(c.hearings, 10), mostBetween))
}

// waiting are those that may be heard: first who was never heard, and alone.
func (r *Room) waiting() []*conviction {
	var out []*conviction
	for _, ref := range sortedVerdicts(r.verdicts) {
		out = append(out, r.verdicts[ref])
	}
	slices.SortStableFunc(out, func(a, b *conviction) int {
		first := func(c *conviction) int {
			switch {
			case c.heard:
				return 2
			case c.among > 1:
				return 1
			}
			return 0
		}
		return first(a) - first(b)
	})
	return out
}

// why is the text of a problem.
func (c *conviction) why() string {
	who := c.Fleet + "/" + c.Proxies[0]
	if c.Witnesses > 1 {
		who += fmt.Sprintf(" and %d more", c.Witnesses-1)
	}
	what, words := "it", c.Type
	if c.Hash == "" {
		what = "its deletion"
	}
	if c.among > 1 {
		what = fmt.Sprintf("one of %d documents that could not be told apart", c.among)
	}
	if c.Doubtful {
		words += ", and this may be about something else"
	}
	return fmt.Sprintf("%s (%s) refuses %s, so it is held back: %s: %s", who, c.Class, what, words, c.Text)
}

func sortedVerdicts(m map[definition.Ref]*conviction) []definition.Ref {
	var refs []definition.Ref
	for ref := range m {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, definition.CompareRefs)
	return refs
}
