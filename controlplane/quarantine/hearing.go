package quarantine

import (
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

const (
	// settled is how long the proxies of a fleet are the same before a document is tried again because of them.
	settled = 5 * time.Second
	// between is how far two hearings of one document are apart at least; it doubles each time, to mostBetween.
	between, mostBetween = 10 * time.Second, 10 * time.Minute
)

// hear publishes one of the documents that are held back once more: to be sure that it is the one, and when those proxies
// are gone that refused it.
func (r *Room) hear(calm map[string]bool, now time.Time) (wake time.Time) {
	for _, ref := range sortedVerdicts(r.verdicts) {
		c := r.verdicts[ref]
		if !calm[c.Fleet] { // of the fleets that have accepted all that is there
			continue
		}
		why, at := r.reason(c, now)
		if why == "" {
			wake = earlier(wake, at)
			continue
		}
		r.log.Info("a document that is held back is tried again", "document", ref.String(), "because", why)
		c.hearings++
		r.search = &search{fleet: c.Fleet, hearing: c, began: now, asked: 1}
		r.pushes++
		r.ring()
		return time.Time{}
	}
	return wake
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
			r.ring()
			return "", time.Time{}
		}
	case same == 0:
		why, wait = "no proxy of the kind that refused it is left", 3*settled
	case !witness:
		why = "no proxy that refused it is left"
	case same >= 2*c.Witnesses:
		why = "there are more proxies of the kind that refused it"
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
func (r *Room) sentence(j judgement, why refusal, now time.Time) {
	c := r.search.hearing
	served := byRef(r.published.Documents)[c.Ref]
	tried := (served == nil) == (c.Hash == "") && (served == nil || served.Hash == c.Hash)
	switch {
	case j == refused:
		c.refusal = why
		c.confirm(now)
	case j == accepted && tried:
		delete(r.verdicts, c.Ref)
		if len(r.acquitted) >= maxAcquitted {
			clear(r.acquitted)
		}
		r.acquitted[c.version]++
		r.log.Info("a document that was held back is accepted, and served", "document", c.Ref.String())
	default: // nobody could say
		c.confirm(now)
	}
	r.end(now, true)
}

// maxAcquitted bounds what is remembered.
const maxAcquitted = 10_000

func (c *conviction) confirm(now time.Time) {
	c.heard = true
	c.next = now.Add(min(between<<min(c.hearings, 10), mostBetween))
}

func sortedVerdicts(m map[definition.Ref]*conviction) []definition.Ref {
	var refs []definition.Ref
	for ref := range m {
		refs = append(refs, ref)
	}
	slices.SortFunc(refs, compareRefs)
	return refs
}
